/* Keeps how long the parts of frames took, and tells median, 95th percentile and maximum. */
#ifndef FRAME_TIMES_H
#define FRAME_TIMES_H

#include <stdbool.h>
#include <stddef.h>

enum { FRAME, PAINTING, STEPPING, OTHER, UPLOAD, TIMED };

typedef struct frame_times {
    double *ms[TIMED];
    size_t count[TIMED];
    size_t room;
} frame_times;

/* Room for `room` frames; further ones are not kept. False if there is no memory. */
bool frame_times_init(frame_times *times, size_t room);
void frame_times_add(frame_times *times, int part, double ms);

/* Prints a table of all parts. Sorts what it holds. */
void frame_times_print(frame_times *times);
void frame_times_free(frame_times *times);

#endif
