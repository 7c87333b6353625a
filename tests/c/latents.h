/* Two latents of a model of classes, as the tests of what conditions them compare. */
#ifndef LATENTS_H
#define LATENTS_H

#include "check.h"

static const int64_t CLASSES[2] = {0, 2};
static float latents[3][2 * MAX_LATENT];

static ft_request asked(const int64_t *classes) {
  ft_request request = request_for(classes, NULL);
  request.image_count = 2;
  request.output = FT_OUTPUT_LATENTS;
  request.seed = 3;
  return request;
}

static void sample(ft_session *session, const ft_request *request, float *out) {
  OK(ft_session_generate(session, request, NULL));
  OK(ft_session_get_latents(session, out, 2 * LATENT));
}

static bool same(const float *a, const float *b) { return !memcmp(a, b, 2 * LATENT * sizeof *a); }

#endif
