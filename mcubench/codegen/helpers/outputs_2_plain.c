/* needs: outputs */
APART void outputs_2_plain(const struct outputs *o, const int8_t *x, int8_t *y) { outputs_of(o, x, y, 2, 1); }
