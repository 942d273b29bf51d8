/* Prints 0 if every sample that the model holds comes out as it was computed on the PC. */
#include <${name}.h>

static int32_t arena[(${upper}_ARENA_BYTES + 3) / 4 + 1];

void setup() {
    Serial.begin(115200);
}

void loop() {
    Serial.println(${name}_selftest(arena));
    delay(1000);
}
