/* needs: compiler */
/* A product with a gate divided by 2^down, rounded twice: by halves of 2, and then of the rest away from 0. */
INLINE int32_t share_of(int32_t product, int32_t down)
{
    return (product + (1 << (down - 1)) + (product < 0 ? -1 : 1)) >> down;
}
