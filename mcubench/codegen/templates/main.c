/* Runs the self-test: exit code 0 if every sample that the model holds comes out as it was computed on the PC. */
#define ${upper}_SELFTEST
#include "${name}.c"

static int32_t arena[(${upper}_ARENA_BYTES + 3) / 4 + 1];

int main(void)
{
    return ${name}_selftest(arena);
}
