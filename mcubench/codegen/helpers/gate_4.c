/* needs: gate */
APART void gate_4(const struct outputs *o, const int8_t *x, int16_t *sums, int32_t added)
{
    gate_of(o, x, sums, 4, added);
}
