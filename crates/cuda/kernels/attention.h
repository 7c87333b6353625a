// What both kinds of attention share: which queries a block has, and where its head lies.
#pragma once

#include "functions.h"

// The image, the head and the first query of a block that has `queries` of them.
struct Place {
    uint32_t image, head, query;

    DEVICE_MEMBER Place(const Attention &attention, uint32_t queries) {
        const uint32_t blocks = (attention.queries + queries - 1) / queries;
        const uint32_t pair = block_x() / blocks;
        query = block_x() % blocks * queries;
        image = pair / attention.heads;
        head = pair % attention.heads;
    }

    // Where the head's first token is.
    DEVICE_MEMBER uint64_t of(const Heads &heads) const {
        return heads.offset + image * heads.image_stride + head * heads.head_stride;
    }

    // What is added to a key's score; 0 for one that is not there.
    DEVICE_MEMBER float bias(const Attention &attention, const float *arena, uint32_t key) const {
        if (attention.bias == NOWHERE || key >= attention.keys) return 0.0f;
        return read(arena + attention.bias + image * attention.bias_stride + key);
    }
};

// 4 numbers of a token's head, zeros where there is no token or no number.
DEVICE float4 of_token(const Attention &attention, const float *head, const Heads &heads, uint32_t token,
                       uint32_t tokens, uint32_t at) {
    const int count = token < tokens ? (int)attention.dim - (int)at : 0;
    const float *from = head + token * heads.token_stride + at;
    float4 x = {0.0f, 0.0f, 0.0f, 0.0f};
    if (count <= 0) return x;
    if (attention.aligned) return read((const float4 *)from);
    ROLLED for (int i = 0; i < 4; ++i) x = {x.y, x.z, x.w, i < count ? read(from + i) : 0.0f};
    return x;
}
