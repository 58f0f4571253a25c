// Counts words: map those of a part of the input, reduce adds the counts of several parts.

export default {
  async map(part) {
    const counts = new Map();
    for await (const line of part.lines()) {
      for (const word of line.toLowerCase().match(/\p{L}+/gu) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
    return Object.fromEntries(counts);
  },

  reduce(parts) {
    const counts = new Map();
    for (const part of parts) {
      for (const [word, count] of Object.entries(part)) counts.set(word, (counts.get(word) ?? 0) + count);
    }
    return Object.fromEntries([...counts].sort());
  },
};
