/* needs: compiler */
/* A first-order section as an integrator by the trapezoidal rule. */
INLINE float slow_single(float share, float *kept, float x)
{
    const float step = share * (x - *kept);
    const float y = *kept + step;
    *kept = y + step;
    return y;
}
