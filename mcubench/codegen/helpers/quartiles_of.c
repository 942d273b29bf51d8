/* needs: compiler, word */
/* Keys are integers in the order of the floats: of negative ones all bits but the sign are turned. */
INLINE int32_t key_turned(int32_t i) { return i < 0 ? i ^ 0x7FFFFFFF : i; }

INLINE float key_value(union word key)
{
    key.i = key_turned(key.i);
    return key.f;
}

/* From the first to the third quartile, halfway between two numbers each, by Batcher's sort of n keys, a power of 2. */
APART float quartiles_of(const float *x, int32_t n, union word *keys)
{
    const int32_t quarter = n / 4;
    int32_t run, i, block, end;
    for (i = 0; i < n; i++) {
        keys[i].f = x[i];
        keys[i].i = key_turned(keys[i].i);
    }
    for (run = n / 2; run > 0; run /= 2) {
        int32_t across = run, first = 0, next = n / 2;
        for (;;) {
            for (block = first; block < n - across; block += 2 * run) {
                end = block + run < n - across ? block + run : n - across;
                for (i = block; i < end; i++) {
                    const int32_t a = keys[i].i, b = keys[i + across].i;
                    keys[i].i = a < b ? a : b;
                    keys[i + across].i = a < b ? b : a;
                }
            }
            if (next == run)
                break;
            across = next - run, first = run, next /= 2;
        }
    }
    return ((key_value(keys[3 * quarter - 1]) + key_value(keys[3 * quarter]))
        - (key_value(keys[quarter - 1]) + key_value(keys[quarter]))) * 0.5f;
}
