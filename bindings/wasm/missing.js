// What missing.txt lists, of a system that has neither threads nor files; library.js and threads.js have the rest.

const succeed = () => 0;
const EAGAIN = 6;

export const missing = {
  // Whose calls modules.mjs has written as instructions.
  multiply_add: () => {},
  fchmod: () => -1,
  pthread_attr_destroy: succeed,
  pthread_attr_init: succeed,
  pthread_attr_setstacksize: succeed,
  pthread_create: () => EAGAIN,
  pthread_detach: succeed,
  pthread_join: succeed,
  realpath: succeed,
};
