/* needs: maxima */
APART void maxima_2(const struct outputs *o, const int8_t *x, int32_t *largest, int32_t is_first)
{
    maxima_of(o, x, largest, is_first, 2);
}
