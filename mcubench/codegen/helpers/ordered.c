/* The bits of a float as an integer that is in the order of floats. */
INLINE int32_t ordered(int32_t bits) { return bits ^ (bits >> 31 & 0x7fffffff); }
