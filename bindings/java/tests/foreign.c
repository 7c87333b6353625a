/* Frees a session on a thread that Java does not know. */
#include <flowturbo.h>
#include <jni.h>
#include <pthread.h>

static void *work(void *session) {
  ft_session_free(session);
  return NULL;
}

JNIEXPORT jboolean JNICALL Java_org_flowturbo_SessionTest_freeElsewhere(JNIEnv *env, jclass self, jlong session) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, work, (void *)(intptr_t)session)) return JNI_FALSE;
  return pthread_join(thread, NULL) == 0;
}
