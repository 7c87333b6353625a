/* OpenGL: nothing here knows how the textures come to be. See scene.h. Lengths are metres, y is up. */
#include "scene.h"

#include "light.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A box that stands or turns somewhere, covered with one material. */
typedef struct box {
    float x, y, z;    /* its middle */
    float sx, sy, sz; /* its edges */
    float turn, tilt; /* degrees about y, then about x */
    float tile;       /* metres that one repeat of the texture covers */
    int material;
} box;

static const float TO_SUN[4] = {-0.8f, 1.0f, 0.5f, 0.0f};
static const float SUN[4] = {1.05f, 0.97f, 0.82f, 1.0f};
static const float SKY_LIGHT[4] = {0.38f, 0.42f, 0.50f, 1.0f};
static const float HAZE[4] = {0.78f, 0.85f, 0.91f, 1.0f};
static const float ZENITH[3] = {0.30f, 0.52f, 0.80f};

void scene_init(void) {
    glEnable(GL_DEPTH_TEST);
    glEnable(GL_CULL_FACE);
    glEnable(GL_LIGHT0);
    glLightfv(GL_LIGHT0, GL_DIFFUSE, SUN);
    glLightfv(GL_LIGHT0, GL_AMBIENT, SKY_LIGHT);
    glLightModelfv(GL_LIGHT_MODEL_AMBIENT, (const float[4]){0.0f, 0.0f, 0.0f, 1.0f});
    glEnable(GL_COLOR_MATERIAL);
    glFogi(GL_FOG_MODE, GL_EXP2);
    glFogf(GL_FOG_DENSITY, 0.03f);
    glFogfv(GL_FOG_COLOR, HAZE);
    (void)light_init(); /* without, this is the light */
}

/* One face: its middle is (cx, cy, cz) from the box's, u points right and v down as seen from outside. */
static void face(const float c[3], const float u[3], const float v[3], float repeat_u, float repeat_v) {
    static const float corners[4][2] = {{-1, 1}, {1, 1}, {1, -1}, {-1, -1}};
    float length = sqrtf(c[0] * c[0] + c[1] * c[1] + c[2] * c[2]);
    glNormal3f(c[0] / length, c[1] / length, c[2] / length);
    for (int i = 0; i < 4; i++) {
        float a = corners[i][0];
        float b = corners[i][1];
        glTexCoord2f((a + 1.0f) * 0.5f * repeat_u, (b + 1.0f) * 0.5f * repeat_v);
        glVertex3f(c[0] + a * u[0] + b * v[0], c[1] + a * u[1] + b * v[1], c[2] + a * u[2] + b * v[2]);
    }
}

static void draw_box(const box *b) {
    float x = b->sx / 2;
    float y = b->sy / 2;
    float z = b->sz / 2;
    float rx = b->sx / b->tile;
    float ry = b->sy / b->tile;
    float rz = b->sz / b->tile;
    glPushMatrix();
    glTranslatef(b->x, b->y, b->z);
    glRotatef(b->tilt, 1, 0, 0);
    glRotatef(b->turn, 0, 1, 0);
    glBegin(GL_QUADS);
    face((float[3]){0, 0, z}, (float[3]){x, 0, 0}, (float[3]){0, -y, 0}, rx, ry);
    face((float[3]){0, 0, -z}, (float[3]){-x, 0, 0}, (float[3]){0, -y, 0}, rx, ry);
    face((float[3]){x, 0, 0}, (float[3]){0, 0, -z}, (float[3]){0, -y, 0}, rz, ry);
    face((float[3]){-x, 0, 0}, (float[3]){0, 0, z}, (float[3]){0, -y, 0}, rz, ry);
    face((float[3]){0, y, 0}, (float[3]){x, 0, 0}, (float[3]){0, 0, z}, rx, rz);
    face((float[3]){0, -y, 0}, (float[3]){x, 0, 0}, (float[3]){0, 0, -z}, rx, rz);
    glEnd();
    glPopMatrix();
}

/* A grid, because its colour varies a little from place to place: that hides that the texture repeats. */
static void draw_ground(void) {
    const float cell = 2.5f;
    const float tile = 2.2f;
    glNormal3f(0, 1, 0);
    for (int row = -32; row < 6; row++) {
        glBegin(GL_QUAD_STRIP);
        for (int column = -28; column <= 28; column++) {
            for (int side = 0; side < 2; side++) {
                float x = (float)column * cell;
                float z = (float)(row + side) * cell;
                float shade = 0.92f + 0.08f * sinf(0.6f * x + sinf(0.5f * z)) * cosf(0.4f * z + 0.3f * x);
                glColor3f(shade, shade, shade);
                glTexCoord2f(x / tile, z / tile);
                glVertex3f(x, 0, z);
            }
        }
        glEnd();
    }
    glColor3f(1, 1, 1);
}

/* Squashes boxes along the sunlight onto a square at height `y`, from -half to half in x and z. The stencil keeps
 * overlaps from getting darker twice. */
static void draw_shadows(const box *boxes, size_t count, float y, double half) {
    const float dx = -TO_SUN[0] / TO_SUN[1];
    const float dz = -TO_SUN[2] / TO_SUN[1];
    const float flat[16] = {1, 0, 0, 0, dx, 0, dz, 0, 0, 0, 1, 0, -dx * y, y + 0.01f, -dz * y, 1};
    const double edges[4][4] = {{1, 0, 0, half}, {-1, 0, 0, half}, {0, 0, 1, half}, {0, 0, -1, half}};
    for (GLenum i = 0; i < 4; i++) {
        glClipPlane(GL_CLIP_PLANE0 + i, edges[i]);
        glEnable(GL_CLIP_PLANE0 + i);
    }
    glClear(GL_STENCIL_BUFFER_BIT);
    glDisable(GL_LIGHTING);
    glDisable(GL_TEXTURE_2D);
    glDisable(GL_CULL_FACE);
    glEnable(GL_BLEND);
    glBlendFunc(GL_SRC_ALPHA, GL_ONE_MINUS_SRC_ALPHA);
    glEnable(GL_STENCIL_TEST);
    glStencilFunc(GL_EQUAL, 0, 1);
    glStencilOp(GL_KEEP, GL_KEEP, GL_INCR);
    glColor4f(0.03f, 0.05f, 0.10f, 0.5f);
    glPushMatrix();
    glMultMatrixf(flat);
    for (size_t i = 0; i < count; i++) {
        draw_box(&boxes[i]);
    }
    glPopMatrix();
    for (GLenum i = 0; i < 4; i++) {
        glDisable(GL_CLIP_PLANE0 + i);
    }
    glColor4f(1, 1, 1, 1);
    glDisable(GL_STENCIL_TEST);
    glDisable(GL_BLEND);
    glEnable(GL_CULL_FACE);
    glEnable(GL_TEXTURE_2D);
    glEnable(GL_LIGHTING);
}

/* A textured rectangle, upright as the image is. */
static void rectangle(float x, float y, float width, float height) {
    glBegin(GL_QUADS);
    glTexCoord2f(0, 0);
    glVertex2f(x, y);
    glTexCoord2f(0, 1);
    glVertex2f(x, y + height);
    glTexCoord2f(1, 1);
    glVertex2f(x + width, y + height);
    glTexCoord2f(1, 0);
    glVertex2f(x + width, y);
    glEnd();
}

/* From here on pixels, (0, 0) top left, without depth, light and fog. */
static void flat_mode(int width, int height) {
    glMatrixMode(GL_PROJECTION);
    glLoadIdentity();
    glOrtho(0, width, height, 0, -1, 1);
    glMatrixMode(GL_MODELVIEW);
    glLoadIdentity();
    glDisable(GL_LIGHTING);
    glDisable(GL_FOG);
    glDisable(GL_TEXTURE_2D);
    glDisable(GL_DEPTH_TEST);
}

static void draw_sky(int width, int height) {
    flat_mode(width, height);
    float horizon = (float)height * 0.31f; /* what scene_draw's camera sees as far away */
    glBegin(GL_QUADS);
    glColor3fv(ZENITH);
    glVertex2f((float)width, 0);
    glVertex2f(0, 0);
    glColor3fv(HAZE);
    glVertex2f(0, horizon);
    glVertex2f((float)width, horizon);
    glEnd();
}

/* A swatch for each material, with a bar that grows as its texture is painted. */
static void draw_swatches(const painter *p, int selected, int width, int height) {
    const float size = 56;
    const float gap = 12;
    flat_mode(width, height);
    for (int i = 0; i < MATERIAL_COUNT; i++) {
        const material *m = &p->materials[i];
        float x = gap + (float)i * (size + gap);
        float y = (float)height - size - gap - 10;
        float frame = i == selected ? 1.0f : 0.12f;
        float done = m->steps == 0 ? 0 : (float)m->step / (float)m->steps;
        glColor3f(frame, frame, frame);
        rectangle(x - 2, y - 2, size + 4, size + 14);
        glColor3f(0.15f, 0.15f, 0.18f);
        rectangle(x, y + size + 3, size, 6);
        glColor3f(0.35f, 0.75f, 0.35f);
        rectangle(x, y + size + 3, size * done, 6);
        glColor3f(1, 1, 1);
        glEnable(GL_TEXTURE_2D);
        glBindTexture(GL_TEXTURE_2D, m->texture);
        rectangle(x, y, size, size);
        glDisable(GL_TEXTURE_2D);
    }
}

void scene_draw(const painter *p, int selected, double seconds, int width, int height) {
    const box boxes[] = {
        {0, 2.2f, 0, 2.0f, 2.0f, 2.0f, (float)fmod(35.0 + seconds * 40.0, 360.0), 10, 2.0f, CUBE},
        {0, 0.3f, 0, 3.2f, 0.6f, 3.2f, 0, 0, 1.6f, STONE},
        {-4.4f, 1.5f, -1.6f, 1.0f, 3.0f, 1.0f, 20, 0, 1.6f, STONE},
        {4.4f, 1.0f, -1.0f, 1.2f, 2.0f, 1.2f, -25, 0, 1.6f, STONE},
        {0, 1.6f, -5.0f, 15.0f, 3.2f, 0.7f, 0, 0, 3.2f, WALL},
    };
    const size_t count = sizeof boxes / sizeof boxes[0];

    glViewport(0, 0, width, height);
    glClearColor(HAZE[0], HAZE[1], HAZE[2], 1);
    glClear(GL_COLOR_BUFFER_BIT | GL_DEPTH_BUFFER_BIT);
    draw_sky(width, height);

    const double half_height = 0.1 * 0.42; /* near plane times the tangent of half the angle of view */
    double half_width = half_height * width / height;
    glMatrixMode(GL_PROJECTION);
    glLoadIdentity();
    glFrustum(-half_width, half_width, -half_height, half_height, 0.1, 120);
    glMatrixMode(GL_MODELVIEW);
    glLoadIdentity();
    glRotatef(9, 1, 0, 0); /* looks down a little, from a place that sways */
    glTranslatef(0, -3.1f, -9.2f);
    glRotatef((float)(18.0 + 7.0 * sin(seconds * 0.35)), 0, 1, 0);
    glLightfv(GL_LIGHT0, GL_POSITION, TO_SUN); /* after the camera: the sun stands still in the world */
    glEnable(GL_DEPTH_TEST);
    glEnable(GL_LIGHTING);
    glEnable(GL_FOG);
    glEnable(GL_TEXTURE_2D);
    glColor3f(1, 1, 1);

    light_on();
    light_surface(p->materials[GROUND].texture, p->materials[GROUND].relief);
    draw_ground();
    light_off();
    draw_shadows(boxes, count, 0, 50);
    light_on();
    for (size_t i = 0; i < count; i++) {
        const material *m = &p->materials[boxes[i].material];
        light_surface(m->texture, m->relief);
        draw_box(&boxes[i]);
    }
    light_off();
    draw_shadows(boxes, 1, 0.6f, 1.6); /* the cube's, on the stone below it */
    draw_swatches(p, selected, width, height);
}

bool scene_screenshot(int width, int height, const char *path) {
    size_t stride = (size_t)width * 3;
    unsigned char *rows = malloc(stride * (size_t)height * 2);
    if (rows == NULL) {
        fprintf(stderr, "engine: out of memory\n");
        return false;
    }
    unsigned char *flipped = rows + stride * (size_t)height;
    glPixelStorei(GL_PACK_ALIGNMENT, 1);
    glReadPixels(0, 0, width, height, GL_RGB, GL_UNSIGNED_BYTE, rows);
    for (int y = 0; y < height; y++) { /* GL's rows run from bottom to top, a PNG's from top to bottom */
        memcpy(flipped + (size_t)y * stride, rows + (size_t)(height - 1 - y) * stride, stride);
    }
    ft_pixels pixels;
    bool saved = painter_check(ft_pixels_init(&pixels, sizeof pixels), "ft_pixels_init");
    if (saved) {
        pixels.data = flipped; /* FT_PIXEL_RGB8 is the default */
        pixels.size = stride * (size_t)height;
        saved = painter_check(ft_pixels_save_png(&pixels, (uint32_t)width, (uint32_t)height, path),
                              "ft_pixels_save_png");
    }
    free(rows);
    return saved;
}
