/* needs: compiler */
/* How many steps a sum of this size is above code 0; f: a bias, factors in two halves, and what is added. */
INLINE uint32_t steps_of(uint32_t size, const uint32_t *f, int32_t split, int32_t shift)
{
    if (size >> (32 - split))
        return 256;
    return (size * (f[1] >> 16) + ((size * (f[1] & 0xFFFFu)) >> split) + f[2]) >> shift;
}

/* The code of a sum where none lies below that of 0. */
INLINE int8_t rectified_code(int32_t sum, const uint32_t *f, int32_t split, int32_t shift, int32_t zero_point,
    int32_t steps)
{
    const int32_t biased = sum + (int32_t)f[0];
    const int32_t found = biased > 0 ? (int32_t)steps_of((uint32_t)biased, f, split, shift) : 0;
    return (int8_t)(zero_point + (found < steps ? found : steps));
}

INLINE int32_t largest_of(const uint32_t *sums, int32_t count)
{
    int32_t largest = (int32_t)sums[0], i;
    for (i = 1; i < count; i++)
        if ((int32_t)sums[i] > largest)
            largest = (int32_t)sums[i];
    return largest;
}
