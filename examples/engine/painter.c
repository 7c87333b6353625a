/* How a game paints with flowturbo: begin, step within a budget, show previews, upload the result. See painter.h. */
#include "painter.h"

#include <SDL.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the surfaces are made of at first, if the bundle knows these classes. */
static const char *const FIRST_CLASSES[MATERIAL_COUNT] = {"wood", "grass", "brick", "cliff"};

bool painter_check(ft_status status, const char *what) {
    if (status == FT_OK) {
        return true;
    }
    fprintf(stderr, "engine: %s: %s: %s\n", what, ft_status_name(status), ft_last_error_message());
    return false;
}

static double now_ms(void) {
    return (double)SDL_GetPerformanceCounter() * 1000.0 / (double)SDL_GetPerformanceFrequency();
}

static bool fill_request(ft_request *request, const int64_t *class_index, uint64_t seed) {
    if (!painter_check(ft_request_init(request, sizeof *request), "ft_request_init")) {
        return false;
    }
    request->classes = class_index;
    request->seed = seed;
    return true;
}

/* Replaces a texture by another one, of any size; GL makes the smaller levels. Both GL and flowturbo call
 * the first row of `data` row 0, so v grows downwards. The old texture goes: one that changes its size from preview to
 * image would keep some of its old levels (seen with Mesa 22). */
static void upload(painter *p, GLuint *texture, uint32_t width, uint32_t height, const void *data) {
    double start = now_ms();
    glDeleteTextures(1, texture);
    glGenTextures(1, texture);
    glBindTexture(GL_TEXTURE_2D, *texture);
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_REPEAT); /* the textures are made to tile */
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_REPEAT);
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_LINEAR_MIPMAP_LINEAR);
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_LINEAR);
    glTexParameteri(GL_TEXTURE_2D, GL_GENERATE_MIPMAP, GL_TRUE); /* OpenGL 1.4; newer: glGenerateMipmap */
    glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, (GLsizei)width, (GLsizei)height, 0, GL_RGBA, GL_UNSIGNED_BYTE, data);
    p->upload_ms += now_ms() - start;
}

static bool fill_pixels(ft_pixels *pixels, void *data, size_t size) {
    if (!painter_check(ft_pixels_init(pixels, sizeof *pixels), "ft_pixels_init")) {
        return false;
    }
    pixels->format = FT_PIXEL_RGBA8;
    pixels->data = data;
    pixels->size = size;
    return true;
}

/* Shows on the material what its texture looks like so far. */
static bool show_preview(painter *p, material *m) {
    bool decoded = p->preview == FT_PREVIEW_DECODED;
    uint32_t width = decoded ? p->info.width : p->info.latent_width;
    uint32_t height = decoded ? p->info.height : p->info.latent_height;
    ft_pixels pixels;
    if (!fill_pixels(&pixels, decoded ? p->pixels : p->preview_pixels, (size_t)width * height * 4) ||
        !painter_check(ft_session_preview(p->session, p->preview, &pixels), "ft_session_preview")) {
        return false;
    }
    upload(p, &m->texture, width, height, pixels.data);
    return true;
}

/* Nothing rises, and nothing shines: what surfaces have until their image is there. */
static void flatten(painter *p, material *m) {
    static const unsigned char flat[4] = {128, 128, 255, 230};
    upload(p, &m->relief, 1, 1, flat);
}

/* The maps of the image that was finished last; the library has made them with it. */
static bool show_relief(painter *p, material *m) {
    size_t count = (size_t)p->info.width * p->info.height;
    ft_pixels normals;
    ft_pixels roughness;
    if (!fill_pixels(&normals, p->pixels, count * 4) || !fill_pixels(&roughness, p->roughness, count)) {
        return false;
    }
    roughness.format = FT_PIXEL_GREY8;
    if (!painter_check(ft_session_get_map(p->session, FT_MAP_NORMAL, 0, &normals), "ft_session_get_map") ||
        !painter_check(ft_session_get_map(p->session, FT_MAP_ROUGHNESS, 0, &roughness), "ft_session_get_map")) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        p->pixels[4 * i + 3] = p->roughness[i];
    }
    upload(p, &m->relief, p->info.width, p->info.height, p->pixels);
    return true;
}

static bool show_image(painter *p, material *m) {
    ft_pixels pixels;
    if (!fill_pixels(&pixels, p->pixels, (size_t)p->info.width * p->info.height * 4) ||
        !painter_check(ft_session_finish(p->session, &pixels), "ft_session_finish")) {
        return false;
    }
    upload(p, &m->texture, p->info.width, p->info.height, pixels.data);
    return !p->has_relief || show_relief(p, m);
}

/* What would otherwise make the first frames late: each class's conditioning, and what previews need. */
static bool warm_up(painter *p) {
    for (int64_t c = 0; c < (int64_t)p->info.class_count; c++) {
        ft_request request;
        if (!fill_request(&request, &c, 0)) {
            return false;
        }
        request.preview = FT_PREVIEW_LINEAR;
        if (!painter_check(ft_session_prepare(p->session, &request), "ft_session_prepare")) {
            return false;
        }
    }
    return true;
}

bool painter_open(painter *p, const char *bundle, uint32_t threads, uint64_t seed) {
    memset(p, 0, sizeof *p);
    p->preview = FT_PREVIEW_LINEAR;
    p->next_seed = seed;
    p->current = -1;

    ft_model_options options;
    if (!painter_check(ft_model_options_init(&options, sizeof options), "ft_model_options_init")) {
        return false;
    }
    options.threads = threads;
    p->info.struct_size = sizeof p->info;
    if (!painter_check(ft_model_open(bundle, &options, &p->model), "ft_model_open") ||
        !painter_check(ft_session_new(p->model, &p->session), "ft_session_new") ||
        !painter_check(ft_model_get_info(p->model, &p->info), "ft_model_get_info")) {
        return false;
    }
    if ((p->info.networks & FT_NETWORK_DECODER) == 0) {
        fprintf(stderr, "engine: %s has no decoder: it makes latents, not images\n", p->info.name);
        return false;
    }
    ft_map maps = 0;
    if (!painter_check(ft_model_get_maps(p->model, &maps), "ft_model_get_maps")) {
        return false;
    }
    p->has_relief = (maps & FT_MAP_NORMAL) != 0 && (maps & FT_MAP_ROUGHNESS) != 0;
    p->pixels = malloc((size_t)p->info.width * p->info.height * 4);
    p->roughness = malloc((size_t)p->info.width * p->info.height);
    p->preview_pixels = malloc((size_t)p->info.latent_width * p->info.latent_height * 4);
    if (p->pixels == NULL || p->roughness == NULL || p->preview_pixels == NULL) {
        fprintf(stderr, "engine: out of memory\n");
        return false;
    }
    memset(p->pixels, 110, (size_t)p->info.width * p->info.height * 4); /* grey */
    for (int i = 0; i < MATERIAL_COUNT; i++) {
        material *m = &p->materials[i];
        upload(p, &m->texture, p->info.width, p->info.height, p->pixels);
        flatten(p, m);
        /* Not checked: a bundle with other classes is fine too, and gets them in their order. */
        if (ft_model_find_class(p->model, FIRST_CLASSES[i], &m->class_index) != FT_OK) {
            m->class_index = i % (int64_t)p->info.class_count;
        }
        painter_reroll(p, i);
    }
    return warm_up(p);
}

void painter_reroll(painter *p, int index) {
    material *m = &p->materials[index];
    m->seed = p->next_seed++;
    m->waiting = true;
    m->step = 0;
    m->steps = 0;
    if (p->current == index) {
        p->current = -1; /* the next ft_session_begin gives up what is under way */
    }
}

void painter_next_class(painter *p, int index) {
    material *m = &p->materials[index];
    m->class_index = (m->class_index + 1) % (int64_t)p->info.class_count;
    painter_reroll(p, index);
}

/* Gives the session to the first material that waits. */
static bool begin_next(painter *p) {
    for (int i = 0; i < MATERIAL_COUNT && p->current < 0; i++) {
        material *m = &p->materials[i];
        ft_request request;
        if (!m->waiting) {
            continue;
        }
        if (!fill_request(&request, &m->class_index, m->seed) ||
            !painter_check(ft_session_begin(p->session, &request), "ft_session_begin")) {
            return false;
        }
        p->current = i;
        m->waiting = false;
        flatten(p, m);
        /* Show the noise that it starts from. */
        return show_preview(p, m);
    }
    return true;
}

bool painter_work(painter *p, double budget_ms) {
    double start = now_ms();
    p->step_ms = 0;
    p->other_ms = 0;
    p->upload_ms = 0;
    if (!begin_next(p)) {
        return false;
    }
    if (p->current < 0) {
        return true;
    }
    material *m = &p->materials[p->current];

    /* The heart of it: the library stops by itself once the budget is used up, and goes on from there next frame. */
    double before = now_ms();
    uint8_t done = 0;
    uint32_t step = m->step;
    if (!painter_check(ft_session_step(p->session, (uint64_t)(budget_ms * 1000.0), &done), "ft_session_step") ||
        !painter_check(ft_session_get_steps(p->session, &m->step, &m->steps), "ft_session_get_steps")) {
        return false;
    }
    p->step_ms = now_ms() - before;

    if (done) {
        if (!show_image(p, m)) {
            return false;
        }
        p->current = -1;
    } else if (m->step != step && !show_preview(p, m)) {
        return false;
    }
    p->other_ms = now_ms() - start - p->step_ms - p->upload_ms;
    return true;
}

bool painter_idle(const painter *p) {
    bool waiting = false;
    for (int i = 0; i < MATERIAL_COUNT; i++) {
        waiting = waiting || p->materials[i].waiting;
    }
    return p->current < 0 && !waiting;
}

const char *painter_label(const painter *p, int index) {
    const char *label = NULL;
    if (ft_model_class_label(p->model, (uint32_t)p->materials[index].class_index, &label) != FT_OK) {
        label = "unnamed"; /* a bundle need not name its classes */
    }
    return label;
}

void painter_close(painter *p) {
    for (int i = 0; i < MATERIAL_COUNT; i++) {
        glDeleteTextures(1, &p->materials[i].texture);
        glDeleteTextures(1, &p->materials[i].relief);
    }
    ft_session_free(p->session);
    ft_model_free(p->model);
    free(p->preview_pixels);
    free(p->roughness);
    free(p->pixels);
    memset(p, 0, sizeof *p);
}
