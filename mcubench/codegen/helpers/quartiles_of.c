/* needs: compiler, word */
/* Keys are integers in the order of the floats: of negative ones all bits but the sign are turned. */
INLINE int32_t key_turned(int32_t i) { return i < 0 ? i ^ 0x7FFFFFFF : i; }

INLINE float key_value(int32_t key)
{
    union word word;
    word.i = key_turned(key);
    return word.f;
}

/* Merges two sorted runs of equal length, which lie one behind the other, as far as so many keys from both ends. */
APART void merge_ends(const union word *from, int32_t run, int32_t keys, union word *to)
{
    int32_t low = 0, high = run, low_end = run - 1, high_end = 2 * run - 1, i;
    for (i = 0; i < keys; i++) {
        const int32_t a = from[low].i, b = from[high].i, c = from[low_end].i, d = from[high_end].i;
        const int32_t first = b < a, later = d < c;
        to[i].i = first ? b : a;
        to[2 * run - 1 - i].i = later ? c : d;
        high += first, low += 1 - first;
        low_end -= later, high_end -= 1 - later;
    }
}

/* From the first to the third quartile, halfway between two numbers each: runs of 2^k of n keys, a power of 2, are merged,
   to and fro between two blocks; of the last two, no more than it takes. */
APART float quartiles_of(const float *x, int32_t n, union word *keys)
{
    union word *from = keys, *to = keys + n;
    const int32_t quarter = n / 4;
    int32_t run, i;
    for (i = 0; i < n; i += 2) {
        union word a, b;
        a.f = x[i], b.f = x[i + 1];
        a.i = key_turned(a.i), b.i = key_turned(b.i);
        from[i].i = a.i < b.i ? a.i : b.i;
        from[i + 1].i = a.i < b.i ? b.i : a.i;
    }
    for (run = 2; run <= n / 2; run *= 2) {
        union word *const merged = to;
        for (i = 0; i < n; i += 2 * run)
            merge_ends(from + i, run, run < n / 2 ? run : quarter + 1, merged + i);
        to = from, from = merged;
    }
    return ((key_value(from[3 * quarter - 1].i) + key_value(from[3 * quarter].i))
        - (key_value(from[quarter - 1].i) + key_value(from[quarter].i))) * 0.5f;
}
