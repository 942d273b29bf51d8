/* needs: gate */
APART void gate_2(const struct outputs *o, const int8_t *x, int16_t *sums, int32_t added)
{
    gate_of(o, x, sums, 2, added);
}
