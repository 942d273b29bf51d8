/* needs: gate */
APART const uint32_t *gates_of_4(
    const struct outputs *o, const uint32_t *w, int32_t row, const int8_t *x, int32_t lift, int16_t *gates)
{
    return gates_of(o, w, row, x, lift, gates, 4);
}
