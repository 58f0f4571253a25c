// Answers a request: what it is given on standard input and in its environment, as CGI has them.
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  const char *query = getenv("QUERY_STRING");
  // Header fields first, then an empty line, as CGI has them; both can be left out.
  printf("Content-Type: text/plain; charset=utf-8\n\n");
  printf("Hello! Your query is \"%s\".\n", query ? query : "");
  return 0;
}
