/* needs: compiler */
INLINE int16_t saturated_16(int32_t x) { return (int16_t)(x > 32767 ? 32767 : x < -32768 ? -32768 : x); }
