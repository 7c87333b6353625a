/*
 * A small 3D engine whose textures are made by flowturbo while it renders.
 *
 *   cc -std=c11 -O2 examples/engine/[a-z]*.c $(pkg-config --cflags --libs flowturbo sdl2 gl) -lm -o engine
 *   ./engine models/textures
 *
 * Tab selects a material, R rerolls it, C gives it the next class, Space rerolls all of them, P changes the kind of
 * preview, Esc or Q quits. examples/engine/run-headless.sh runs it without a screen.
 */
#include <SDL.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame_times.h"
#include "painter.h"
#include "scene.h"

enum { WIDTH = 960, HEIGHT = 540 };

typedef struct arguments {
    const char *bundle;
    const char *screenshot; /* or NULL */
    long frames;            /* 0: until the user quits */
    double budget_ms;       /* for ft_session_step, each frame */
    double fps;             /* at most */
    uint64_t seed;
    uint32_t threads; /* One keeps the other cores for the game, and for OpenGL where that runs on the CPU. */
} arguments;

/* With --frames these keys are pressed by themselves: `at` is a part of all frames, 'S' takes a screenshot. */
static const struct {
    double at;
    char key;
} SCRIPT[] = {
    {0.005, 'S'}, {0.02, 'S'}, {0.12, 'S'}, {0.17, 'S'}, {0.46, 'S'},
    {0.50, ' '},  {0.54, 'S'}, {0.60, 'S'}, {0.70, 'S'}, {0.75, 'c'},
};

static double now_ms(void) {
    return (double)SDL_GetPerformanceCounter() * 1000.0 / (double)SDL_GetPerformanceFrequency();
}

static bool parse(int argc, char **argv, arguments *a) {
    *a = (arguments){.budget_ms = 4.0, .fps = 60.0, .seed = 49, .threads = 1};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (name[0] != '-') {
            a->bundle = name;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : NULL;
        char *end = NULL;
        if (value == NULL) {
            return false;
        } else if (strcmp(name, "--frames") == 0) {
            a->frames = strtol(value, &end, 10);
        } else if (strcmp(name, "--budget-ms") == 0) {
            a->budget_ms = strtod(value, &end);
        } else if (strcmp(name, "--fps") == 0) {
            a->fps = strtod(value, &end);
        } else if (strcmp(name, "--seed") == 0) {
            a->seed = strtoull(value, &end, 10);
        } else if (strcmp(name, "--threads") == 0) {
            a->threads = (uint32_t)strtoul(value, &end, 10);
        } else if (strcmp(name, "--screenshot") == 0) {
            a->screenshot = value;
        } else {
            return false;
        }
        if (end != NULL && (end == value || *end != '\0')) {
            return false;
        }
    }
    return a->bundle != NULL && a->frames >= 0 && a->frames <= 1000000 && a->budget_ms > 0 && a->budget_ms <= 1000 &&
           a->fps >= 1 && a->fps <= 1000;
}

/* What a key does, pressed by the user or by the script. False for the keys that quit. */
static bool press(painter *p, int *selected, int key) {
    switch (key) {
    case SDLK_ESCAPE:
    case SDLK_q:
        return false;
    case SDLK_TAB:
        *selected = (*selected + 1) % MATERIAL_COUNT;
        break;
    case SDLK_r:
        painter_reroll(p, *selected);
        break;
    case SDLK_c:
        painter_next_class(p, *selected);
        break;
    case SDLK_SPACE:
        for (int i = 0; i < MATERIAL_COUNT; i++) {
            painter_reroll(p, i);
        }
        break;
    case SDLK_p: /* A decoded preview is sharper, and runs the decoder: watch the frame rate. */
        p->preview = p->preview == FT_PREVIEW_LINEAR ? FT_PREVIEW_DECODED : FT_PREVIEW_LINEAR;
        break;
    default:
        break;
    }
    return true;
}

/* The last screenshot gets the name itself, others a number: shot.png becomes shot-0012.png. */
static bool shoot(const char *path, long frame, bool last) {
    char name[1024];
    const char *dot = strrchr(path, '.');
    size_t stem = dot == NULL || strchr(dot, '/') != NULL ? strlen(path) : (size_t)(dot - path);
    if (last) {
        return scene_screenshot(WIDTH, HEIGHT, path);
    }
    if (strlen(path) + 16 > sizeof name) {
        fprintf(stderr, "engine: the name of the screenshot is too long\n");
        return false;
    }
    snprintf(name, sizeof name, "%.*s-%04ld%s", (int)stem, path, frame, path + stem);
    return scene_screenshot(WIDTH, HEIGHT, name);
}

static void set_title(SDL_Window *window, const painter *p, int selected, double fps) {
    char title[160];
    int shown = p->current >= 0 ? p->current : selected;
    const material *m = &p->materials[shown];
    snprintf(title, sizeof title, "flowturbo - %s, seed %llu, step %u of %u - %.0f fps", painter_label(p, shown),
             (unsigned long long)m->seed, (unsigned)m->step, (unsigned)m->steps, fps);
    SDL_SetWindowTitle(window, title);
}

/* The loop: paint a little, draw, show, wait for the next frame's time. */
static bool loop(SDL_Window *window, painter *p, const arguments *a, frame_times *times) {
    const double period = 1000.0 / a->fps;
    int selected = CUBE;
    scene_draw(p, selected, 0, WIDTH, HEIGHT); /* behind the loading screen: drivers compile on the first frame */
    SDL_GL_SwapWindow(window);
    glFinish();
    double began = now_ms();
    double due = began;
    double saving = 0;
    double titled = began;
    long titled_frame = 0;
    long missed = 0;
    for (long frame = 0; a->frames == 0 || frame < a->frames; frame++) {
        double start = now_ms();
        SDL_Event event;
        while (SDL_PollEvent(&event)) {
            if (event.type == SDL_QUIT ||
                (event.type == SDL_KEYDOWN && !press(p, &selected, event.key.keysym.sym))) {
                return true;
            }
        }
        bool shot = false;
        for (size_t i = 0; i < sizeof SCRIPT / sizeof SCRIPT[0] && a->frames > 0; i++) {
            if ((long)(SCRIPT[i].at * (double)a->frames) == frame) {
                shot = shot || SCRIPT[i].key == 'S';
                press(p, &selected, SCRIPT[i].key);
            }
        }

        bool painting = !painter_idle(p);
        if (!painter_work(p, a->budget_ms)) {
            return false;
        }
        double seconds = a->frames > 0 ? (double)frame / a->fps : (start - began) / 1000.0;
        scene_draw(p, selected, seconds, WIDTH, HEIGHT);
        SDL_GL_SwapWindow(window);
        glFinish(); /* only so that drawing is timed too */

        double took = now_ms() - start;
        missed += took > period;
        frame_times_add(times, FRAME, took);
        if (painting) {
            frame_times_add(times, PAINTING, took);
            frame_times_add(times, STEPPING, p->step_ms);
            frame_times_add(times, OTHER, p->other_ms);
            frame_times_add(times, UPLOAD, p->upload_ms);
        }
        if (start - titled >= 250.0) {
            set_title(window, p, selected, (double)(frame - titled_frame) * 1000.0 / (start - titled));
            titled = start;
            titled_frame = frame;
        }
        bool last = frame + 1 == a->frames;
        if (a->screenshot != NULL && (shot || last)) {
            double before = now_ms();
            scene_draw(p, selected, seconds, WIDTH, HEIGHT); /* the swap may have emptied the buffer */
            if (!shoot(a->screenshot, frame, last)) {
                return false;
            }
            saving += now_ms() - before;
            due += now_ms() - before;
        }
        due += period;
        double left = due - now_ms();
        if (left > 0) {
            SDL_Delay((Uint32)left);
        } else {
            due = now_ms(); /* late: go on from here instead of running after the lost time */
        }
    }
    double seconds = (now_ms() - began - saving) / 1000.0;
    printf("%ld frames in %.2f s, %.1f fps; budget %.1f ms, %u thread(s) for the model\n", a->frames, seconds,
           (double)a->frames / seconds, a->budget_ms, (unsigned)a->threads);
    frame_times_print(times);
    printf("missed: %ld of %ld frames took longer than 1/%.0f s\n", missed, a->frames, a->fps);
    return true;
}

static bool run(SDL_Window *window, const arguments *a) {
    painter p;
    frame_times times = {0};
    double start = now_ms();
    bool ok = painter_open(&p, a->bundle, a->threads, a->seed);
    if (ok) {
        printf("flowturbo %s, %s with %u classes, ready in %.0f ms; OpenGL: %s\n", ft_version_string(), p.info.name,
               (unsigned)p.info.class_count, now_ms() - start, (const char *)glGetString(GL_RENDERER));
        scene_init();
    }
    ok = ok && frame_times_init(&times, (size_t)a->frames + 1) && loop(window, &p, a, &times);
    frame_times_free(&times);
    painter_close(&p);
    return ok;
}

int main(int argc, char **argv) {
    arguments a;
    if (!parse(argc, argv, &a)) {
        fprintf(stderr, "usage: engine BUNDLE [--frames N] [--screenshot FILE.png] [--budget-ms X] [--seed N]\n"
                        "              [--fps X] [--threads N]\n");
        return 2;
    }
    if (SDL_Init(SDL_INIT_VIDEO) != 0) {
        fprintf(stderr, "engine: SDL: %s\n", SDL_GetError());
        return 1;
    }
    SDL_GL_SetAttribute(SDL_GL_STENCIL_SIZE, 8);
    SDL_GL_SetAttribute(SDL_GL_DEPTH_SIZE, 24);
    int any = (int)SDL_WINDOWPOS_CENTERED;
    SDL_Window *window = SDL_CreateWindow("flowturbo", any, any, WIDTH, HEIGHT, SDL_WINDOW_OPENGL);
    SDL_GLContext context = window == NULL ? NULL : SDL_GL_CreateContext(window);
    bool ok = context != NULL;
    if (!ok) {
        fprintf(stderr, "engine: SDL: %s\n", SDL_GetError());
    } else {
        SDL_GL_SetSwapInterval(0); /* the loop keeps its own time, so that it can tell missed frames */
        ok = run(window, &a);
        SDL_GL_DeleteContext(context);
    }
    if (window != NULL) {
        SDL_DestroyWindow(window);
    }
    SDL_Quit();
    return ok ? 0 : 1;
}
