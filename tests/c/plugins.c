/* Loads two plugins that each embed the library: each uses its own. Arguments: a bundle, "global" or "local", two
 * plugins. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

#define CHECK(condition)                                               \
  do {                                                                 \
    if (!(condition)) {                                                \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                         \
    }                                                                  \
  } while (0)

static const plugin_calls *load(const char *path, int flags) {
  plugin_entry entry = NULL;
  void *const library = dlopen(path, RTLD_NOW | flags);
  if (!library) fprintf(stderr, "%s\n", dlerror());
  CHECK(library);
  void *const found = dlsym(library, "plugin");
  CHECK(found);
  memcpy(&entry, &found, sizeof entry);
  return entry();
}

int main(int count, char **arguments) {
  CHECK(count == 5);
  const char *const bundle = arguments[1];
  const int flags = !strcmp(arguments[2], "global") ? RTLD_GLOBAL : RTLD_LOCAL;
  const plugin_calls *const first = load(arguments[3], flags);
  const plugin_calls *const second = load(arguments[4], flags);

  /* Nothing of either is seen by the program. */
  CHECK(!dlsym(RTLD_DEFAULT, "ft_version"));
  /* A handle is known where it was made, and nowhere else. */
  ft_cancel_token *token = NULL;
  CHECK(first->new_token(&token) == FT_OK);
  CHECK(first->cancel(token) == FT_OK);
  CHECK(second->cancel(token) == FT_ERROR_INVALID_HANDLE);

  const uint64_t sum = first->paint(bundle);
  CHECK(sum != 0);
  CHECK(second->paint(bundle) == sum && first->paint(bundle) == sum);
  return 0;
}
