/* needs: compiler */
APART float magnitudes_about(const float *x, int32_t n, float mean)
{
    float total = 0.0f;
    for (; n > 0; n--) {
        const float d = *x++ - mean;
        total += d < 0.0f ? -d : d;
    }
    return total;
}
