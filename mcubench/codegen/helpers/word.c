/* A float and its bits. */
union word {
    float f;
    int32_t i;
    uint32_t u;
};
