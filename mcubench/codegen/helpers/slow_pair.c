/* needs: compiler */
/* A second-order section as two integrators by the trapezoidal rule. */
APART float slow_pair(const float *section, float *kept, float x)
{
    const float ahead = x - kept[1];
    const float rise = section[0] * kept[0] + section[1] * ahead;
    const float step = section[1] * kept[0] + section[2] * ahead;
    const float y = kept[1] + step;
    kept[0] = 2.0f * rise - kept[0];
    kept[1] = y + step;
    return y;
}
