// Elements of strided views, numbered as their shape has them.
#pragma once

#include "device.h"

// Where an element is in each dimension.
struct Index {
    uint32_t of[RANK];

    DEVICE_MEMBER Index(uint32_t element, const uint32_t (&shape)[RANK], uint32_t rank) {
        UNROLL for (int d = RANK - 1; d > 0; --d) {
            of[d] = 0;
            if ((uint32_t)d < rank) {
                of[d] = element % shape[d];
                element /= shape[d];
            }
        }
        of[0] = element;
    }

    // Floats from the arena's start.
    DEVICE_MEMBER uint64_t in(const View &view) const {
        uint64_t at = view.offset;
        UNROLL for (int d = 0; d < RANK; ++d) at += of[d] * view.strides[d];
        return at;
    }
};
