/* needs: outputs */
APART void outputs_4_any(const struct outputs *o, const int8_t *x, int8_t *y) { outputs_of(o, x, y, 4, 0); }
