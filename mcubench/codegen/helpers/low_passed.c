/* needs: compiler */
/* Second-order sections in transposed direct form II; of each b0, b1, b2, -a1, -a2. */
APART float low_passed(const float *section, int32_t sections, float *kept, float x)
{
    for (; sections > 0; sections--, section += 5, kept += 2) {
        const float y = section[0] * x + kept[0];
        kept[0] = kept[1] + section[1] * x + section[3] * y;
        kept[1] = section[2] * x + section[4] * y;
        x = y;
    }
    return x;
}
