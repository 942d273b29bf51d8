/* Floats of which one is not negative are in the order of their bits as integers; of negative ones, in the other order. */
#if defined(__GNUC__)
typedef int32_t __attribute__((may_alias)) float_bits;
#else
typedef int32_t float_bits;
#endif
