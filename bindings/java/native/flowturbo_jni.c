/* What org.flowturbo.Native calls: the C API of flowturbo.h, a function each. Handles are longs, memory is direct
 * buffers, and structs are filled by tables of their fields. A call that fails throws FlowTurboException. */
#include <flowturbo.h>
#include <jni.h>
#include <stdlib.h>
#include <string.h>

#define METHOD(result, name) JNIEXPORT result JNICALL Java_org_flowturbo_Native_##name
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define HANDLE(kind, number) ((ft_##kind *)(intptr_t)(number))
#define NUMBER(handle) ((jlong)(intptr_t)(handle))

#ifdef __ANDROID__
#define PLACE(env) (env)
#else
#define PLACE(env) ((void **)(env))
#endif

/* A number of an object, and where its struct has it: I is an int, J a long, F a float. */
struct number {
  const char *name;
  const char *type;
  size_t offset;
  size_t bytes;
  jfieldID field;
};
#define FIELD(kind, name, type, field) {name, type, offsetof(kind, field), sizeof(((kind *)0)->field), NULL}

/* A direct buffer of an object, where its struct has the address, and how many there are of how many bytes. */
struct buffer {
  const char *name;
  size_t address;
  size_t count; /* NOT_TOLD for none */
  size_t bytes;
  jfieldID field;
};
#define NOT_TOLD ((size_t)-1)

static struct number request_numbers[] = {
    FIELD(ft_request, "imageCount", "I", image_count),
    FIELD(ft_request, "seed", "J", seed),
    FIELD(ft_request, "guidance", "F", guidance),
    FIELD(ft_request, "output", "I", output),
    FIELD(ft_request, "preview", "I", preview),
    FIELD(ft_request, "tile", "I", tile),
    FIELD(ft_request, "width", "I", width),
    FIELD(ft_request, "height", "I", height),
    FIELD(ft_request, "strength", "F", strength),
    FIELD(ft_request, "initCount", "I", init_count),
    FIELD(ft_request, "variation", "F", variation),
    FIELD(ft_request, "variationSeed", "J", variation_seed),
    FIELD(ft_request, "contextRows", "J", context_rows),
    FIELD(ft_request, "negativeContextRows", "J", negative_context_rows),
};
#define REQUEST(field) offsetof(ft_request, field)
static struct buffer request_buffers[] = {
    {"classes", REQUEST(classes), NOT_TOLD, 8, NULL},
    {"morphClasses", REQUEST(morph_classes), NOT_TOLD, 8, NULL},
    {"morphAmounts", REQUEST(morph_amounts), NOT_TOLD, 4, NULL},
    {"schedule", REQUEST(schedule), NOT_TOLD, 1, NULL},
    {"preset", REQUEST(preset), NOT_TOLD, 1, NULL},
    {"negativePrompt", REQUEST(negative_prompt), NOT_TOLD, 1, NULL},
    {"noise", REQUEST(noise), REQUEST(noise_count), 4, NULL},
    {"mask", REQUEST(mask), REQUEST(mask_size), 1, NULL},
    {"seeds", REQUEST(seeds), REQUEST(seed_count), 8, NULL},
    {"streams", REQUEST(streams), REQUEST(stream_count), 8, NULL},
    {"context", REQUEST(context), REQUEST(context_count), 4, NULL},
    {"negativeContext", REQUEST(negative_context), REQUEST(negative_context_count), 4, NULL},
    {"promptAddresses", REQUEST(prompts), REQUEST(prompt_count), 8, NULL},
};

static struct number pixels_numbers[] = {
    FIELD(ft_pixels, "format", "I", format),
    FIELD(ft_pixels, "rowStride", "J", row_stride),
    FIELD(ft_pixels, "imageStride", "J", image_stride),
};
static struct buffer pixels_buffers[] = {{"memory", offsetof(ft_pixels, data), offsetof(ft_pixels, size), 1, NULL}};

static struct number info_numbers[] = {
    FIELD(ft_model_info, "width", "I", width),
    FIELD(ft_model_info, "height", "I", height),
    FIELD(ft_model_info, "latentChannels", "I", latent_channels),
    FIELD(ft_model_info, "latentHeight", "I", latent_height),
    FIELD(ft_model_info, "latentWidth", "I", latent_width),
    FIELD(ft_model_info, "classCount", "I", class_count),
    FIELD(ft_model_info, "networks", "I", networks),
    FIELD(ft_model_info, "nullClass", "J", null_class),
    FIELD(ft_model_info, "guidance", "F", guidance),
    FIELD(ft_model_info, "threads", "I", threads),
    FIELD(ft_model_info, "cellWidth", "I", cell_width),
    FIELD(ft_model_info, "cellHeight", "I", cell_height),
    FIELD(ft_model_info, "presetCount", "I", preset_count),
    FIELD(ft_model_info, "tiles", "I", tiles),
    FIELD(ft_model_info, "contextWidth", "I", context_width),
    FIELD(ft_model_info, "contextTokens", "I", context_tokens),
    FIELD(ft_model_info, "device", "I", device),
};

static struct number progress_numbers[] = {
    FIELD(ft_progress, "step", "I", step),
    FIELD(ft_progress, "steps", "I", steps),
    FIELD(ft_progress, "kind", "I", kind),
    FIELD(ft_progress, "microseconds", "J", microseconds),
    FIELD(ft_progress, "decoded", "I", decoded),
    FIELD(ft_progress, "images", "I", pictures),
    FIELD(ft_progress, "previewWidth", "I", preview_width),
    FIELD(ft_progress, "previewHeight", "I", preview_height),
};

static struct number option_numbers[] = {
    FIELD(ft_model_options, "threads", "I", threads),
    FIELD(ft_model_options, "batch", "I", batch),
    FIELD(ft_model_options, "releaseConditioning", "I", release_conditioning),
    FIELD(ft_model_options, "deterministic", "I", deterministic),
    FIELD(ft_model_options, "precision", "I", precision),
    FIELD(ft_model_options, "device", "I", device),
};

static JavaVM *machine;
static jclass failure, progress_class, session_class;
static jmethodID new_failure, new_progress, on_progress;
static jfieldID request_init, request_texts, request_listener, request_cancel, options_cancel, progress_preview;

/* A field, unless one before it was not found. */
static jfieldID find_field(JNIEnv *env, jclass of, const char *name, const char *type) {
  return of && !(*env)->ExceptionCheck(env) ? (*env)->GetFieldID(env, of, name, type) : NULL;
}

static void find_numbers(JNIEnv *env, jclass of, struct number *numbers, size_t count) {
  for (size_t i = 0; i < count; i++) numbers[i].field = find_field(env, of, numbers[i].name, numbers[i].type);
}

static void find_buffers(JNIEnv *env, jclass of, struct buffer *buffers, size_t count) {
  for (size_t i = 0; i < count; i++) buffers[i].field = find_field(env, of, buffers[i].name, "Ljava/nio/ByteBuffer;");
}

/* A class, kept for as long as the library is. */
static jclass find_class(JNIEnv *env, const char *name) {
  if ((*env)->ExceptionCheck(env)) return NULL;
  jclass found = (*env)->FindClass(env, name);
  return found ? (*env)->NewGlobalRef(env, found) : NULL;
}

/* What is misspelt here or in Java is told when the library is loaded. */
JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *vm, void *reserved) {
  (void)reserved;
  JNIEnv *env;
  machine = vm;
  if ((*vm)->GetEnv(vm, (void **)&env, JNI_VERSION_1_6) != JNI_OK) return JNI_ERR;
  failure = find_class(env, "org/flowturbo/FlowTurboException");
  progress_class = find_class(env, "org/flowturbo/Progress");
  session_class = find_class(env, "org/flowturbo/Session");
  jclass request = find_class(env, "org/flowturbo/Request"), pixels = find_class(env, "org/flowturbo/Pixels");
  jclass options = find_class(env, "org/flowturbo/ModelOptions"), model = find_class(env, "org/flowturbo/Model");
  find_numbers(env, request, request_numbers, COUNT(request_numbers));
  find_buffers(env, request, request_buffers, COUNT(request_buffers));
  find_numbers(env, pixels, pixels_numbers, COUNT(pixels_numbers));
  find_buffers(env, pixels, pixels_buffers, COUNT(pixels_buffers));
  find_numbers(env, model, info_numbers, COUNT(info_numbers));
  find_numbers(env, options, option_numbers, COUNT(option_numbers));
  find_numbers(env, progress_class, progress_numbers, COUNT(progress_numbers));
  request_init = find_field(env, request, "init", "Lorg/flowturbo/Pixels;");
  request_texts = find_field(env, request, "promptTexts", "Ljava/nio/ByteBuffer;");
  request_listener = find_field(env, request, "listener", "Lorg/flowturbo/ProgressListener;");
  request_cancel = find_field(env, request, "cancel", "J");
  options_cancel = find_field(env, options, "cancel", "J");
  progress_preview = find_field(env, progress_class, "preview", "[B");
  if ((*env)->ExceptionCheck(env)) return JNI_ERR;
  new_failure = (*env)->GetMethodID(env, failure, "<init>", "(I[B)V");
  if (new_failure) new_progress = (*env)->GetMethodID(env, progress_class, "<init>", "()V");
  if (new_progress)
    on_progress = (*env)->GetStaticMethodID(env, session_class, "onProgress", "(Lorg/flowturbo/Progress;)V");
  return on_progress ? JNI_VERSION_1_6 : JNI_ERR;
}

/* Texts are UTF-8, which JNI's own functions do not speak. */
static jbyteArray bytes_of(JNIEnv *env, const char *text) {
  if (!text) return NULL;
  jsize length = (jsize)strlen(text);
  jbyteArray bytes = (*env)->NewByteArray(env, length);
  if (bytes) (*env)->SetByteArrayRegion(env, bytes, 0, length, (const jbyte *)text);
  return bytes;
}

/* Throws what the library has to say of a status, unless something was thrown already; tells whether all is well. */
static int good(JNIEnv *env, ft_status status) {
  if ((*env)->ExceptionCheck(env)) return 0;
  if (status == FT_OK) return 1;
  jbyteArray message = bytes_of(env, ft_last_error_message());
  jobject thrown = message ? (*env)->NewObject(env, failure, new_failure, (jint)status, message) : NULL;
  if (thrown) (*env)->Throw(env, thrown);
  return 0;
}

static void from_java(JNIEnv *env, jobject object, const struct number *numbers, size_t count, void *raw) {
  for (size_t i = 0; i < count; i++) {
    void *place = (char *)raw + numbers[i].offset;
    if (*numbers[i].type == 'F') {
      *(float *)place = (*env)->GetFloatField(env, object, numbers[i].field);
      continue;
    }
    jlong value = *numbers[i].type == 'I' ? (*env)->GetIntField(env, object, numbers[i].field)
                                          : (*env)->GetLongField(env, object, numbers[i].field);
    if (numbers[i].bytes == 4) *(uint32_t *)place = (uint32_t)value;
    else *(uint64_t *)place = (uint64_t)value;
  }
}

static void to_java(JNIEnv *env, jobject object, const struct number *numbers, size_t count, const void *raw) {
  for (size_t i = 0; i < count; i++) {
    const void *place = (const char *)raw + numbers[i].offset;
    if (*numbers[i].type == 'F') {
      (*env)->SetFloatField(env, object, numbers[i].field, *(const float *)place);
      continue;
    }
    jlong value = numbers[i].bytes == 4 ? (jlong) * (const uint32_t *)place : (jlong) * (const uint64_t *)place;
    if (*numbers[i].type == 'I') (*env)->SetIntField(env, object, numbers[i].field, (jint)value);
    else (*env)->SetLongField(env, object, numbers[i].field, value);
  }
}

static size_t size_of(JNIEnv *env, jobject buffer) { return (size_t)(*env)->GetDirectBufferCapacity(env, buffer); }

/* The addresses of direct buffers, from their beginning whatever their position: Java has sliced them. */
static void lend(JNIEnv *env, jobject object, const struct buffer *buffers, size_t count, void *raw) {
  for (size_t i = 0; i < count; i++) {
    jobject buffer = (*env)->GetObjectField(env, object, buffers[i].field);
    if (!buffer) continue;
    *(void **)((char *)raw + buffers[i].address) = (*env)->GetDirectBufferAddress(env, buffer);
    if (buffers[i].count != NOT_TOLD)
      *(size_t *)((char *)raw + buffers[i].count) = size_of(env, buffer) / buffers[i].bytes;
    (*env)->DeleteLocalRef(env, buffer);
  }
}

static int pixels_of(JNIEnv *env, jobject pixels, ft_pixels *raw) {
  if (!good(env, ft_pixels_init(raw, sizeof *raw))) return 0;
  from_java(env, pixels, pixels_numbers, COUNT(pixels_numbers), raw);
  lend(env, pixels, pixels_buffers, COUNT(pixels_buffers), raw);
  return 1;
}

/* The library calls this on the thread that called it, which is Java's. What is thrown here stays pending until the
 * library has returned. */
static int32_t report(void *user_data, const ft_progress *progress) {
  (void)user_data;
  JNIEnv *env;
  if ((*machine)->GetEnv(machine, (void **)&env, JNI_VERSION_1_6) != JNI_OK) return 1;
  if ((*env)->PushLocalFrame(env, 4) != 0) return 1;
  jobject told = (*env)->NewObject(env, progress_class, new_progress);
  if (told && !(*env)->ExceptionCheck(env)) {
    to_java(env, told, progress_numbers, COUNT(progress_numbers), progress);
    jbyteArray preview = progress->preview ? (*env)->NewByteArray(env, (jsize)progress->preview_size) : NULL;
    if (preview) {
      (*env)->SetByteArrayRegion(env, preview, 0, (jsize)progress->preview_size, (const jbyte *)progress->preview);
      (*env)->SetObjectField(env, told, progress_preview, preview);
    }
    if (!(*env)->ExceptionCheck(env)) (*env)->CallStaticVoidMethod(env, session_class, on_progress, told);
  }
  int32_t stop = (*env)->ExceptionCheck(env);
  (*env)->PopLocalFrame(env, NULL);
  return stop;
}

/* A request, and the pixels that it begins with. */
struct asked {
  ft_request request;
  ft_pixels init;
};

static int request_of(JNIEnv *env, jobject request, struct asked *asked) {
  ft_request *raw = &asked->request;
  if (!good(env, ft_request_init(raw, sizeof *raw))) return 0;
  from_java(env, request, request_numbers, COUNT(request_numbers), raw);
  lend(env, request, request_buffers, COUNT(request_buffers), raw);
  jobject texts = (*env)->GetObjectField(env, request, request_texts);
  if (texts) {
    const char *text = (*env)->GetDirectBufferAddress(env, texts);
    const char **addresses = (const char **)(uintptr_t)raw->prompts;
    for (size_t i = 0; i < raw->prompt_count; i++, text += strlen(text) + 1) addresses[i] = text;
  }
  jobject init = (*env)->GetObjectField(env, request, request_init);
  if (init) {
    if (!pixels_of(env, init, &asked->init)) return 0;
    raw->init = &asked->init;
  }
  raw->cancel = HANDLE(cancel_token, (*env)->GetLongField(env, request, request_cancel));
  if ((*env)->GetObjectField(env, request, request_listener)) raw->progress = report;
  return 1;
}

/* ---- version, pixels, cancel token ---- */

METHOD(jbyteArray, version)(JNIEnv *env, jclass self) { return bytes_of(env, ft_version_string()); }

METHOD(void, savePng)(JNIEnv *env, jclass self, jobject pixels, jint width, jint height, jobject path) {
  ft_pixels raw;
  if (!pixels_of(env, pixels, &raw)) return;
  good(env, ft_pixels_save_png(&raw, (uint32_t)width, (uint32_t)height, (*env)->GetDirectBufferAddress(env, path)));
}

METHOD(jlong, tokenNew)(JNIEnv *env, jclass self) {
  ft_cancel_token *token = NULL;
  good(env, ft_cancel_token_new(&token));
  return NUMBER(token);
}

METHOD(void, tokenCancel)(JNIEnv *env, jclass self, jlong token) {
  good(env, ft_cancel_token_cancel(HANDLE(cancel_token, token)));
}

METHOD(void, tokenReset)(JNIEnv *env, jclass self, jlong token) {
  good(env, ft_cancel_token_reset(HANDLE(cancel_token, token)));
}

METHOD(jboolean, tokenIsCancelled)(JNIEnv *env, jclass self, jlong token) {
  uint8_t cancelled = 0;
  good(env, ft_cancel_token_is_cancelled(HANDLE(cancel_token, token), &cancelled));
  return cancelled != 0;
}

METHOD(void, tokenFree)(JNIEnv *env, jclass self, jlong token) {
  ft_cancel_token_free(HANDLE(cancel_token, token));
}

/* ---- model ---- */

static int options_of(JNIEnv *env, jobject options, ft_model_options *raw) {
  if (!good(env, ft_model_options_init(raw, sizeof *raw))) return 0;
  from_java(env, options, option_numbers, COUNT(option_numbers), raw);
  raw->cancel = HANDLE(cancel_token, (*env)->GetLongField(env, options, options_cancel));
  return 1;
}

METHOD(jlong, modelOpen)(JNIEnv *env, jclass self, jobject path, jobject options) {
  ft_model_options raw;
  ft_model *model = NULL;
  if (options_of(env, options, &raw))
    good(env, ft_model_open((*env)->GetDirectBufferAddress(env, path), &raw, &model));
  return NUMBER(model);
}

/* Lets go of a buffer that was lent, on whichever thread the library has no more use for it. */
static void let_go(void *buffer) {
  JNIEnv *env;
  int known = (*machine)->GetEnv(machine, (void **)&env, JNI_VERSION_1_6) == JNI_OK;
  if (!known && (*machine)->AttachCurrentThread(machine, PLACE(&env), NULL) != JNI_OK) return;
  (*env)->DeleteGlobalRef(env, buffer);
  if (!known) (*machine)->DetachCurrentThread(machine);
}

METHOD(jlong, modelOpenMemory)(JNIEnv *env, jclass self, jobject data, jobject options) {
  ft_model_options raw;
  ft_model *model = NULL;
  if (!options_of(env, options, &raw)) return 0;
  jobject lent = (*env)->NewGlobalRef(env, data);
  void *memory = (*env)->GetDirectBufferAddress(env, data);
  good(env, ft_model_open_memory(memory, size_of(env, data), let_go, lent, &raw, &model));
  return NUMBER(model);
}

METHOD(void, modelFree)(JNIEnv *env, jclass self, jlong model) {
  ft_model_free(HANDLE(model, model));
}

/* Sets the fields of `object`, a Model, and gives its texts. */
METHOD(jobjectArray, modelInfo)(JNIEnv *env, jclass self, jlong model, jobject object) {
  ft_model_info info = {.struct_size = sizeof info};
  if (!good(env, ft_model_get_info(HANDLE(model, model), &info))) return NULL;
  to_java(env, object, info_numbers, COUNT(info_numbers), &info);
  const char *texts[] = {info.name, info.description, info.license, info.schedule, info.hash};
  jclass of_bytes = (*env)->FindClass(env, "[B");
  jobjectArray all = of_bytes ? (*env)->NewObjectArray(env, COUNT(texts), of_bytes, NULL) : NULL;
  for (size_t i = 0; all && i < COUNT(texts) && !(*env)->ExceptionCheck(env); i++) {
    jbyteArray text = bytes_of(env, texts[i]);
    if (text) (*env)->SetObjectArrayElement(env, all, (jsize)i, text);
  }
  return all;
}

METHOD(jbyteArray, modelLabel)(JNIEnv *env, jclass self, jlong model, jlong number) {
  const char *label;
  return good(env, ft_model_class_label(HANDLE(model, model), number, &label)) ? bytes_of(env, label) : NULL;
}

METHOD(jbyteArray, modelPreset)(JNIEnv *env, jclass self, jlong model, jint index) {
  const char *name;
  return good(env, ft_model_preset_name(HANDLE(model, model), (uint32_t)index, &name)) ? bytes_of(env, name) : NULL;
}

METHOD(jlong, modelFindClass)(JNIEnv *env, jclass self, jlong model, jobject name) {
  int64_t number = 0;
  good(env, ft_model_find_class(HANDLE(model, model), (*env)->GetDirectBufferAddress(env, name), &number));
  return number;
}

METHOD(jint, modelMaps)(JNIEnv *env, jclass self, jlong model) {
  ft_map maps = 0;
  good(env, ft_model_get_maps(HANDLE(model, model), &maps));
  return (jint)maps;
}

/* Bytes held by the model, by a session, and taken for a moment. */
METHOD(jlongArray, modelPrepare)(JNIEnv *env, jclass self, jlong model, jobject request) {
  struct asked asked;
  ft_memory memory = {.struct_size = sizeof memory};
  if (!request_of(env, request, &asked)) return NULL;
  if (!good(env, ft_model_prepare(HANDLE(model, model), &asked.request, &memory))) return NULL;
  const jlong bytes[] = {(jlong)memory.model_bytes, (jlong)memory.session_bytes, (jlong)memory.passing_bytes};
  jlongArray all = (*env)->NewLongArray(env, COUNT(bytes));
  if (all) (*env)->SetLongArrayRegion(env, all, 0, COUNT(bytes), bytes);
  return all;
}

/* ---- request ---- */

/* Sets the numbers of a Request to the library's defaults. */
METHOD(void, requestInit)(JNIEnv *env, jclass self, jobject request) {
  ft_request raw;
  if (good(env, ft_request_init(&raw, sizeof raw)))
    to_java(env, request, request_numbers, COUNT(request_numbers), &raw);
}

/* ---- session ---- */

METHOD(jlong, sessionNew)(JNIEnv *env, jclass self, jlong model) {
  ft_session *session = NULL;
  good(env, ft_session_new(HANDLE(model, model), &session));
  return NUMBER(session);
}

METHOD(void, sessionFree)(JNIEnv *env, jclass self, jlong session) {
  ft_session_free(HANDLE(session, session));
}

METHOD(void, sessionPrepare)(JNIEnv *env, jclass self, jlong session, jobject request) {
  struct asked asked;
  if (request_of(env, request, &asked)) good(env, ft_session_prepare(HANDLE(session, session), &asked.request));
}

METHOD(void, sessionGenerate)(JNIEnv *env, jclass self, jlong session, jobject request, jobject pixels) {
  struct asked asked;
  ft_pixels raw;
  if (!request_of(env, request, &asked) || (pixels && !pixels_of(env, pixels, &raw))) return;
  good(env, ft_session_generate(HANDLE(session, session), &asked.request, pixels ? &raw : NULL));
}

METHOD(void, sessionBegin)(JNIEnv *env, jclass self, jlong session, jobject request) {
  struct asked asked;
  if (request_of(env, request, &asked)) good(env, ft_session_begin(HANDLE(session, session), &asked.request));
}

METHOD(jboolean, sessionStep)(JNIEnv *env, jclass self, jlong session, jlong microseconds) {
  uint8_t done = 0;
  good(env, ft_session_step(HANDLE(session, session), (uint64_t)microseconds, &done));
  return done != 0;
}

/* The steps made in the upper half, all of them in the lower. */
METHOD(jlong, sessionSteps)(JNIEnv *env, jclass self, jlong session) {
  uint32_t made = 0, all = 0;
  good(env, ft_session_get_steps(HANDLE(session, session), &made, &all));
  return (jlong)made << 32 | (jlong)all;
}

METHOD(void, sessionPreview)(JNIEnv *env, jclass self, jlong session, jint kind, jobject pixels) {
  ft_pixels raw;
  if (pixels_of(env, pixels, &raw)) good(env, ft_session_preview(HANDLE(session, session), (ft_preview)kind, &raw));
}

METHOD(void, sessionFinish)(JNIEnv *env, jclass self, jlong session, jobject pixels) {
  ft_pixels raw;
  if (pixels_of(env, pixels, &raw)) good(env, ft_session_finish(HANDLE(session, session), &raw));
}

METHOD(void, sessionReset)(JNIEnv *env, jclass self, jlong session) {
  good(env, ft_session_reset(HANDLE(session, session)));
}

METHOD(void, sessionMap)(JNIEnv *env, jclass self, jlong session, jint map, jint flags, jobject pixels) {
  ft_pixels raw;
  if (!pixels_of(env, pixels, &raw)) return;
  good(env, ft_session_get_map(HANDLE(session, session), (ft_map)map, (ft_map_flags)flags, &raw));
}

METHOD(void, sessionLatents)(JNIEnv *env, jclass self, jlong session, jobject latents) {
  float *memory = (*env)->GetDirectBufferAddress(env, latents);
  good(env, ft_session_get_latents(HANDLE(session, session), memory, size_of(env, latents) / sizeof(float)));
}

METHOD(void, sessionEncode)(JNIEnv *env, jclass self, jlong session, jobject pixels, jint width, jint height,
                            jint count, jobject latents) {
  ft_pixels raw;
  if (!pixels_of(env, pixels, &raw)) return;
  good(env, ft_session_encode(HANDLE(session, session), &raw, (uint32_t)width, (uint32_t)height, (uint32_t)count,
                              (*env)->GetDirectBufferAddress(env, latents), size_of(env, latents) / sizeof(float)));
}

METHOD(void, sessionDecode)(JNIEnv *env, jclass self, jlong session, jobject latents, jint width, jint height,
                            jobject pixels) {
  ft_pixels raw;
  if (!pixels_of(env, pixels, &raw)) return;
  const float *memory = (*env)->GetDirectBufferAddress(env, latents);
  size_t count = size_of(env, latents) / sizeof(float);
  good(env, ft_session_decode_sized(HANDLE(session, session), memory, count, (uint32_t)width, (uint32_t)height, &raw));
}
