/* needs: outputs */
APART void outputs_2_any(const struct outputs *o, const int8_t *x, int8_t *y) { outputs_of(o, x, y, 2, 0); }
