/* needs: compiler */
APART float fourths_about(const float *x, int32_t n, float mean)
{
    float total = 0.0f;
    for (; n > 0; n--) {
        const float d = *x++ - mean, square = d * d;
        total += square * square;
    }
    return total;
}
