#include "frame_times.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const NAMES[TIMED] = {
    "whole frame, without waiting",      "  of those that paint", "  ft_session_step in them",
    "  ft_session_begin, preview, finish", "  upload to OpenGL",
};

bool frame_times_init(frame_times *times, size_t room) {
    times->room = room;
    for (int i = 0; i < TIMED; i++) {
        times->count[i] = 0;
        times->ms[i] = calloc(room, sizeof times->ms[i][0]);
        if (times->ms[i] == NULL) {
            times->room = 0;
        }
    }
    return times->room == room;
}

void frame_times_add(frame_times *times, int part, double ms) {
    if (times->count[part] < times->room) {
        times->ms[part][times->count[part]++] = ms;
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

void frame_times_print(frame_times *times) {
    printf("%-36s %6s %8s %8s %8s\n", "milliseconds", "frames", "median", "95 %", "max");
    for (int i = 0; i < TIMED; i++) {
        double *ms = times->ms[i];
        size_t count = times->count[i];
        if (count > 0) {
            qsort(ms, count, sizeof ms[0], ascending);
            printf("%-36s %6zu %8.2f %8.2f %8.2f\n", NAMES[i], count, ms[(count - 1) / 2], ms[(count - 1) * 95 / 100],
                   ms[count - 1]);
        }
    }
}

void frame_times_free(frame_times *times) {
    for (int i = 0; i < TIMED; i++) {
        free(times->ms[i]);
        times->ms[i] = NULL;
    }
    times->room = 0;
}
