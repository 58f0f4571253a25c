// Kernels that compute, of the kinds that programs do: the same source for the machine and for WebAssembly. With the name of one as its argument (or as the
// query, in a node) it works on it eight times and prints the result; without a name it lists them.

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint32_t draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static void *room(size_t bytes) {
    void *found = calloc(1, bytes);
    if (!found) {
        fputs("no memory\n", stderr);
        exit(1);
    }
    return found;
}

// Floating point.

static uint64_t matrix(void) {
    enum { N = 320 };
    double *a = room(N * N * sizeof *a), *b = room(N * N * sizeof *b), *c = room(N * N * sizeof *c);
    for (int at = 0; at < N * N; at++) a[at] = draw() % 100, b[at] = draw() % 100;
    for (int row = 0; row < N; row++)
        for (int step = 0; step < N; step++)
            for (int column = 0; column < N; column++) c[row * N + column] += a[row * N + step] * b[step * N + column];
    uint64_t sum = 0;
    for (int at = 0; at < N * N; at++) sum = sum * 31 + (uint64_t)c[at];
    free(a), free(b), free(c);
    return sum;
}

static uint64_t stencil(void) {
    enum { N = 512, STEPS = 60 };
    double *from = room(N * N * sizeof *from), *to = room(N * N * sizeof *to);
    for (int at = 0; at < N * N; at++) from[at] = draw() % 1000;
    for (int step = 0; step < STEPS; step++) {
        for (int y = 1; y < N - 1; y++)
            for (int x = 1; x < N - 1; x++)
                to[y * N + x] = 0.25 * (from[y * N + x - 1] + from[y * N + x + 1] + from[(y - 1) * N + x] + from[(y + 1) * N + x]);
        double *other = from;
        from = to, to = other;
    }
    double sum = 0;
    for (int at = 0; at < N * N; at++) sum += from[at];
    free(from), free(to);
    return (uint64_t)sum;
}

static uint64_t fractal(void) {
    enum { N = 360, LIMIT = 250 };
    uint64_t sum = 0;
    for (int y = 0; y < N; y++) {
        for (int x = 0; x < N; x++) {
            double cx = 3.0 * x / N - 2.0, cy = 2.5 * y / N - 1.25, zx = 0, zy = 0;
            int steps = 0;
            while (zx * zx + zy * zy < 4 && steps < LIMIT) {
                double next = zx * zx - zy * zy + cx;
                zy = 2 * zx * zy + cy;
                zx = next;
                steps++;
            }
            sum += (uint64_t)steps * (uint64_t)(x + 1);
        }
    }
    return sum;
}

static uint64_t gravity(void) {
    enum { N = 24, STEPS = 4000 };
    double px[N], py[N], vx[N] = {0}, vy[N] = {0}, sum = 0;
    for (int at = 0; at < N; at++) px[at] = draw() % 4096, py[at] = draw() % 4096;
    for (int step = 0; step < STEPS; step++) {
        for (int one = 0; one < N; one++) {
            for (int other = one + 1; other < N; other++) {
                double dx = px[other] - px[one], dy = py[other] - py[one], square = dx * dx + dy * dy + 100;
                double pull = 10 / (square * sqrt(square));
                vx[one] += dx * pull, vy[one] += dy * pull;
                vx[other] -= dx * pull, vy[other] -= dy * pull;
            }
        }
        for (int at = 0; at < N; at++) px[at] += vx[at], py[at] += vy[at];
    }
    for (int at = 0; at < N; at++) sum += px[at];
    return (uint64_t)sum;
}

// Integers and memory.

static uint64_t primes(void) {
    enum { N = 6000000 };
    uint8_t *crossed = room(N + 1);
    uint64_t count = 0;
    for (uint32_t number = 2; number <= N; number++) {
        if (crossed[number]) continue;
        count++;
        for (uint64_t at = (uint64_t)number * number; at <= N; at += number) crossed[at] = 1;
    }
    free(crossed);
    return count;
}

static void order(uint32_t *from, int length) {
    while (length > 12) {
        uint32_t pivot = from[length / 2];
        int low = 0, high = length - 1;
        while (low <= high) {
            while (from[low] < pivot) low++;
            while (from[high] > pivot) high--;
            if (low <= high) {
                uint32_t kept = from[low];
                from[low++] = from[high], from[high--] = kept;
            }
        }
        order(from, high + 1);
        from += low, length -= low;
    }
    for (int at = 1; at < length; at++) {
        uint32_t value = from[at];
        int place = at;
        for (; place > 0 && from[place - 1] > value; place--) from[place] = from[place - 1];
        from[place] = value;
    }
}

static uint64_t sorting(void) {
    enum { N = 1200000 };
    uint32_t *numbers = room(N * sizeof *numbers);
    for (int at = 0; at < N; at++) numbers[at] = draw();
    order(numbers, N);
    uint64_t sum = 0;
    for (int at = 0; at < N; at++) sum = sum * 31 + numbers[at];
    free(numbers);
    return sum;
}

static uint64_t checksum(void) {
    enum { N = 1 << 20, ROUNDS = 24 };
    uint32_t table[256];
    for (uint32_t at = 0; at < 256; at++) {
        uint32_t value = at;
        for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
        table[at] = value;
    }
    uint8_t *bytes = room(N);
    for (int at = 0; at < N; at++) bytes[at] = (uint8_t)draw();
    uint32_t sum = ~0u;
    for (int round = 0; round < ROUNDS; round++)
        for (int at = 0; at < N; at++) sum = table[(sum ^ bytes[at]) & 255] ^ sum >> 8;
    free(bytes);
    return ~sum;
}

static uint64_t hashing(void) {
    enum { SLOTS = 1 << 20, N = 600000, MASK = SLOTS - 1 };
    uint64_t *keys = room(SLOTS * sizeof *keys), *values = room(SLOTS * sizeof *values), sum = 0;
    for (uint64_t at = 0; at < 3 * N; at++) {
        uint64_t key = 1 + draw() % N, place = key * 0x9e3779b97f4a7c15ull >> 44 & MASK;
        while (keys[place] && keys[place] != key) place = (place + 1) & MASK;
        keys[place] = key, values[place] += at;
    }
    for (int at = 0; at < SLOTS; at++) sum += values[at] * keys[at];
    free(keys), free(values);
    return sum;
}

static uint64_t matches(void) {
    enum { N = 2 << 20, HEADS = 1 << 15 };
    uint8_t *text = room(N + 8);
    int *heads = room(HEADS * sizeof *heads);
    static const char *const words[] = {"water ", "stone ", "in the ", "house ", "and ", "river ", "went ", "slowly "};
    for (int at = 0; at < N - 16;) {
        const char *word = words[draw() & 7];
        size_t length = strlen(word);
        memcpy(text + at, word, length), at += (int)length;
        if (draw() % 5 == 0) text[at++] = (uint8_t)('a' + draw() % 26);
    }
    uint64_t sum = 0;
    for (int at = 0; at < N - 64;) {
        uint32_t four;
        memcpy(&four, text + at, 4);
        uint32_t slot = four * 2654435761u >> 17;
        int before = heads[slot], length = 0;
        heads[slot] = at;
        if (before && at - before < 65536)
            while (length < 60 && text[before + length] == text[at + length]) length++;
        sum = sum * 33 + (uint64_t)length;
        at += length > 3 ? length : 1;
    }
    free(text), free(heads);
    return sum;
}

static uint64_t distance(void) {
    enum { N = 3000 };
    uint8_t one[N], other[N];
    int row[N + 1];
    for (int at = 0; at < N; at++) one[at] = draw() & 3, other[at] = draw() & 3;
    for (int at = 0; at <= N; at++) row[at] = at;
    for (int y = 1; y <= N; y++) {
        int corner = row[0];
        row[0] = y;
        for (int x = 1; x <= N; x++) {
            int above = row[x], best = corner + (one[y - 1] != other[x - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[x - 1] + 1 < best) best = row[x - 1] + 1;
            corner = above, row[x] = best;
        }
    }
    return (uint64_t)row[N];
}

static uint64_t words(void) {
    enum { N = 4 << 20 };
    uint8_t *text = room(N);
    for (int at = 0; at < N; at++) text[at] = "etaoin shrdlu,\nETAOIN.  "[draw() % 24];
    uint64_t count = 0, sum = 0;
    for (int round = 0; round < 4; round++) {
        uint32_t hash = 0;
        for (int at = 0; at < N; at++) {
            uint8_t letter = text[at] | 32;
            if (letter >= 'a' && letter <= 'z') hash = hash * 31 + letter;
            else if (hash) count++, sum += hash, hash = 0;
        }
    }
    free(text);
    return sum ^ count;
}

// Pointers, calls and jumps.

struct tree {
    struct tree *left, *right;
};

static struct tree *grow(int depth) {
    struct tree *tree = room(sizeof *tree);
    if (depth) tree->left = grow(depth - 1), tree->right = grow(depth - 1);
    return tree;
}

static uint64_t fell(struct tree *tree) {
    if (!tree) return 0;
    uint64_t count = 1 + fell(tree->left) + fell(tree->right);
    free(tree);
    return count;
}

static uint64_t trees(void) {
    uint64_t sum = 0;
    for (int round = 0; round < 12; round++) sum += fell(grow(15));
    return sum;
}

static uint64_t machine(void) {
    // A loop in a small stack machine: count down from the first word, adding up.
    enum { PUSH, ADD, COPY, SWAP, JUMP, END };
    const int code[] = {PUSH, 0, PUSH, 4000000, COPY, JUMP, 9, END, 0, SWAP, PUSH, 3, ADD, SWAP, PUSH, -1, ADD, PUSH, 1, JUMP, 4};
    int64_t stack[16];
    int top = 0, at = 0;
    for (;;) {
        switch (code[at]) {
        case PUSH: stack[top++] = code[at + 1], at += 2; break;
        case ADD: top--, stack[top - 1] += stack[top], at++; break;
        case COPY: stack[top] = stack[top - 1], top++, at++; break;
        case SWAP: {
            int64_t kept = stack[top - 1];
            stack[top - 1] = stack[top - 2], stack[top - 2] = kept, at++;
            break;
        }
        case JUMP: at = stack[--top] ? code[at + 1] : at + 2; break;
        default: return (uint64_t)stack[0];
        }
    }
}

static const struct {
    const char *name;
    uint64_t (*run)(void);
} KERNELS[] = {
    {"matrix", matrix}, {"stencil", stencil}, {"fractal", fractal}, {"gravity", gravity}, {"primes", primes},
    {"sorting", sorting}, {"checksum", checksum}, {"hashing", hashing}, {"matches", matches}, {"distance", distance},
    {"words", words}, {"trees", trees}, {"machine", machine},
};

int main(int count, char **arguments) {
    const char *query = getenv("QUERY_STRING"), *name = query && *query ? query : count > 1 ? arguments[1] : "";
    for (size_t at = 0; at < sizeof KERNELS / sizeof *KERNELS; at++) {
        if (!*name) puts(KERNELS[at].name);
        if (strcmp(name, KERNELS[at].name)) continue;
        uint64_t sum = 0;
        state = 88172645463325252ull;
        for (int round = 0; round < 8; round++) sum = sum * 31 + KERNELS[at].run();
        printf("%llu\n", (unsigned long long)sum);
    }
}
