/* The shader, and the few functions of OpenGL 2.0 that it takes. See light.h. */
#include "light.h"

#include <SDL.h>
#include <stdio.h>
#include <string.h>

/* What OpenGL calls them, and what they are called here. */
#define FUNCTIONS(F)                                                                                                   \
    F(PFNGLCREATESHADERPROC, CreateShader)                                                                             \
    F(PFNGLSHADERSOURCEPROC, ShaderSource)                                                                             \
    F(PFNGLCOMPILESHADERPROC, CompileShader)                                                                           \
    F(PFNGLGETSHADERIVPROC, GetShaderiv)                                                                               \
    F(PFNGLGETSHADERINFOLOGPROC, GetShaderInfoLog)                                                                     \
    F(PFNGLCREATEPROGRAMPROC, CreateProgram)                                                                           \
    F(PFNGLATTACHSHADERPROC, AttachShader)                                                                             \
    F(PFNGLLINKPROGRAMPROC, LinkProgram)                                                                               \
    F(PFNGLGETPROGRAMIVPROC, GetProgramiv)                                                                             \
    F(PFNGLUSEPROGRAMPROC, UseProgram)                                                                                 \
    F(PFNGLGETUNIFORMLOCATIONPROC, GetUniformLocation)                                                                 \
    F(PFNGLUNIFORM1IPROC, Uniform1i)                                                                                   \
    F(PFNGLACTIVETEXTUREPROC, ActiveTexture)

#define DECLARE(type, name) type name;
static struct {
    FUNCTIONS(DECLARE)
    GLuint program; /* 0 without one */
} gl;

static const char VERTEX[] = "#version 120\n"
                             "varying vec3 place, facing;\n"
                             "varying vec2 at;\n"
                             "void main() {\n"
                             "    place = vec3(gl_ModelViewMatrix * gl_Vertex);\n"
                             "    facing = gl_NormalMatrix * gl_Normal;\n"
                             "    at = gl_MultiTexCoord0.xy;\n"
                             "    gl_FrontColor = gl_Color;\n"
                             "    gl_Position = ftransform();\n"
                             "}\n";

/* Tangents come from how place and texture coordinates change from pixel to pixel, so that models need none. Highlights
 * are those of Trowbridge and Reitz (GGX) on what is no metal: 4 % of the light when it falls straight. */
static const char FRAGMENT[] =
    "#version 120\n"
    "varying vec3 place, facing;\n"
    "varying vec2 at;\n"
    "uniform sampler2D colours, relief;\n"
    "void main() {\n"
    "    vec3 flat_normal = normalize(facing);\n"
    "    vec3 a = cross(dFdy(place), flat_normal), b = cross(flat_normal, dFdx(place));\n"
    "    vec2 right = dFdx(at), up = dFdy(at);\n"
    "    vec3 along_u = a * right.x + b * up.x, along_v = a * right.y + b * up.y;\n"
    "    float size = inversesqrt(max(max(dot(along_u, along_u), dot(along_v, along_v)), 1e-20));\n"
    "    vec4 seen = texture2D(relief, at);\n"
    "    vec3 n = seen.rgb * 2.0 - 1.0;\n"
    "    n = normalize(size * (along_u * n.x - along_v * n.y) + flat_normal * n.z);\n"
    "    vec3 light = normalize(gl_LightSource[0].position.xyz), eye = normalize(-place);\n"
    "    vec3 halfway = normalize(light + eye);\n"
    "    float lit = max(dot(n, light), 0.0) * smoothstep(-0.1, 0.2, dot(flat_normal, light));\n"
    "    float width = max(seen.a * seen.a, 0.02), width2 = width * width;\n"
    "    float nh = max(dot(n, halfway), 0.0), lh = max(dot(light, halfway), 0.1);\n"
    "    float peak = nh * nh * (width2 - 1.0) + 1.0;\n"
    "    float shine = 0.04 * width2 / (4.0 * peak * peak * lh * lh * (width + 0.5));\n"
    "    vec3 sky = gl_LightSource[0].ambient.rgb, sun = gl_LightSource[0].diffuse.rgb;\n"
    "    vec3 colour = texture2D(colours, at).rgb * gl_Color.rgb;\n"
    "    colour = colour * (sky + sun * lit) + sun * lit * shine;\n"
    "    float far = gl_Fog.density * length(place);\n"
    "    gl_FragColor = vec4(mix(gl_Fog.color.rgb, colour, exp(-far * far)), 1.0);\n"
    "}\n";

static bool add(GLuint program, GLenum kind, const char *text) {
    GLuint shader = gl.CreateShader(kind);
    GLint works = 0;
    gl.ShaderSource(shader, 1, &text, NULL);
    gl.CompileShader(shader);
    gl.GetShaderiv(shader, GL_COMPILE_STATUS, &works);
    if (!works) {
        char log[512] = "";
        gl.GetShaderInfoLog(shader, sizeof log, NULL, log);
        fprintf(stderr, "engine: the shader does not compile: %s\n", log);
        return false;
    }
    gl.AttachShader(program, shader);
    return true;
}

bool light_init(void) {
    void *found; /* C knows no cast from it to a function, only the same bytes */
#define LOOK_UP(type, name)                                                                                            \
    found = SDL_GL_GetProcAddress("gl" #name);                                                                         \
    if (found == NULL) {                                                                                               \
        fprintf(stderr, "engine: no gl" #name ": surfaces are lit without relief\n");                                  \
        return false;                                                                                                  \
    }                                                                                                                  \
    memcpy(&gl.name, &found, sizeof found);
    FUNCTIONS(LOOK_UP)
    GLuint program = gl.CreateProgram();
    GLint works = 0;
    if (!add(program, GL_VERTEX_SHADER, VERTEX) || !add(program, GL_FRAGMENT_SHADER, FRAGMENT)) {
        return false;
    }
    gl.LinkProgram(program);
    gl.GetProgramiv(program, GL_LINK_STATUS, &works);
    if (!works) {
        fprintf(stderr, "engine: the shader does not link\n");
        return false;
    }
    gl.program = program;
    gl.UseProgram(program);
    gl.Uniform1i(gl.GetUniformLocation(program, "colours"), 0);
    gl.Uniform1i(gl.GetUniformLocation(program, "relief"), 1);
    gl.UseProgram(0);
    return true;
}

void light_on(void) {
    if (gl.program != 0) {
        gl.UseProgram(gl.program);
    }
}

void light_off(void) {
    if (gl.program != 0) {
        gl.UseProgram(0);
    }
}

void light_surface(GLuint colours, GLuint relief) {
    if (gl.program != 0) {
        gl.ActiveTexture(GL_TEXTURE1);
        glBindTexture(GL_TEXTURE_2D, relief);
        gl.ActiveTexture(GL_TEXTURE0);
    }
    glBindTexture(GL_TEXTURE_2D, colours);
}
