// What missing.txt lists, of a system that has neither threads nor files.

const succeed = () => 0;

export const missing = {
  fchmod: () => -1,
  pthread_attr_destroy: succeed,
  pthread_attr_init: succeed,
  pthread_attr_setstacksize: succeed,
  pthread_create: () => 6, // EAGAIN
  pthread_detach: succeed,
  pthread_join: succeed,
  realpath: () => 0,
};
