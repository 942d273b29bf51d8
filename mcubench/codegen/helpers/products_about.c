/* needs: compiler */
APART float products_about(const float *x, float mean_x, const float *y, float mean_y, int32_t n)
{
    float total = 0.0f;
    for (; n > 0; n--)
        total += (*x++ - mean_x) * (*y++ - mean_y);
    return total;
}
