// Two files of one program, one with exceptions and one without (FLOWTURBO_NO_EXCEPTIONS): each keeps to its own types.
#include <cstdio>

#include "flowturbo.hpp"

bool told_without_exceptions(const char* bundle);

#ifdef FLOWTURBO_NO_EXCEPTIONS
bool told_without_exceptions(const char* bundle) {
  const flowturbo::result<flowturbo::model> none = flowturbo::model::open("no/such/folder");
  const flowturbo::result<flowturbo::model> some = flowturbo::model::open(bundle);
  return !none && none.error().status() == FT_ERROR_IO && some;
}
#else
static bool told_with_exceptions(const char* bundle) {
  const flowturbo::model model = flowturbo::model::open(bundle);
  try {
    flowturbo::model::open("no/such/folder");
  } catch (const flowturbo::error& error) {
    return error.status() == FT_ERROR_IO && model.handle();
  }
  return false;
}

int main(int count, char** arguments) {
  if (count != 2) return 2;
  if (!told_with_exceptions(arguments[1])) return std::puts("with exceptions"), 1;
  if (!told_without_exceptions(arguments[1])) return std::puts("without exceptions"), 1;
  return 0;
}
#endif
