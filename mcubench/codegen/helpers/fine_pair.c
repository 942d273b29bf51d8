/* needs: compiler */
/* The same whose second state is a sum of two floats, and the result too: kept[3] is what it lacks. */
APART float fine_pair(const float *section, float *kept, float x)
{
    const float ahead = x - kept[1] - kept[2];
    const float rise = section[0] * kept[0] + section[1] * ahead;
    const float step = section[1] * kept[0] + section[2] * ahead;
    const float first = kept[2] + step, y = kept[1] + first;
    const float rest = first - (y - kept[1]), second = rest + step, state = y + second;
    kept[0] = 2.0f * rise - kept[0];
    kept[1] = state;
    kept[2] = second - (state - y);
    kept[3] = rest;
    return y;
}
