/* needs: outputs */
APART void codes_plain(const struct outputs *o, const int32_t *sums, int8_t *y)
{
    int32_t index;
    for (index = 0; index < o->count; index++)
        y[index] = output_code(o, index, sums[index], 1);
}
