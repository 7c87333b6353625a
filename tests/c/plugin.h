/* What a plugin of these tests shows of itself: what the library that it embeds does. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include "flowturbo.h"

typedef struct {
  ft_status (*new_token)(ft_cancel_token **out_token);
  ft_status (*cancel)(ft_cancel_token *token);
  /* Makes an image of class 1, and gives a sum over it; 0 if it failed. */
  uint64_t (*paint)(const char *bundle);
} plugin_calls;

typedef const plugin_calls *(*plugin_entry)(void);

#endif
