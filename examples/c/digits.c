/* Train a network with one hidden layer on handwritten digits, by the AdamW of fastadam. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adamw.h"

enum { PIXELS = 64, HIDDEN = 64, CLASSES = 10, BATCH = 32, EPOCHS = 15 };

typedef struct { /* all parameters in one buffer, so that a step is one call */
    float w1[HIDDEN][PIXELS], b1[HIDDEN], w2[CLASSES][HIDDEN], b2[CLASSES];
} network;

enum { N = sizeof(network) / sizeof(float) };

static network net, grad;
static float exp_avg[N], exp_avg_sq[N];

/* The probability of each digit; `hidden` receives the activations. */
static void forward(const float *pixels, float *hidden, float *probability)
{
    float total = 0, top = -INFINITY;
    for (int j = 0; j < HIDDEN; j++) {
        float sum = net.b1[j];
        for (int i = 0; i < PIXELS; i++) sum += net.w1[j][i] * pixels[i];
        hidden[j] = sum > 0 ? sum : 0;
    }
    for (int k = 0; k < CLASSES; k++) {
        float sum = net.b2[k];
        for (int j = 0; j < HIDDEN; j++) sum += net.w2[k][j] * hidden[j];
        probability[k] = sum;
        if (sum > top) top = sum;
    }
    for (int k = 0; k < CLASSES; k++) total += probability[k] = expf(probability[k] - top);
    for (int k = 0; k < CLASSES; k++) probability[k] /= total;
}

/* Add the gradient of the cross-entropy of one image. */
static void backward(const float *pixels, int label)
{
    float hidden[HIDDEN], error[CLASSES];
    forward(pixels, hidden, error);
    error[label] -= 1;
    for (int k = 0; k < CLASSES; k++) {
        grad.b2[k] += error[k] / BATCH;
        for (int j = 0; j < HIDDEN; j++) grad.w2[k][j] += error[k] * hidden[j] / BATCH;
    }
    for (int j = 0; j < HIDDEN; j++) {
        float back = 0;
        for (int k = 0; k < CLASSES; k++) back += error[k] * net.w2[k][j];
        if (hidden[j] <= 0) continue;
        grad.b1[j] += back / BATCH;
        for (int i = 0; i < PIXELS; i++) grad.w1[j][i] += back * pixels[i] / BATCH;
    }
}

int main(int argc, char **argv)
{
    int32_t count[2];
    FILE *file = fopen(argc > 1 ? argv[1] : "digits.bin", "rb");
    if (!file || fread(count, 4, 2, file) != 2) return fprintf(stderr, "no digits.bin\n"), 1;
    int all = count[0] + count[1];
    float *pixels = malloc(sizeof(float) * PIXELS * all);
    int32_t *labels = malloc(sizeof(int32_t) * all);
    if (fread(pixels, 4, (size_t)PIXELS * all, file) != (size_t)PIXELS * all) return 1;
    if (fread(labels, 4, all, file) != (size_t)all) return 1;
    if (fastadam_adamw_abi() != FASTADAM_ADAMW_ABI) return fprintf(stderr, "other header\n"), 1;

    srand(1);
    for (int j = 0; j < HIDDEN; j++)
        for (int i = 0; i < PIXELS; i++) net.w1[j][i] = 0.3f * (rand() / (float)RAND_MAX - 0.5f);
    for (int k = 0; k < CLASSES; k++)
        for (int j = 0; j < HIDDEN; j++) net.w2[k][j] = 0.3f * (rand() / (float)RAND_MAX - 0.5f);

    fastadam_adamw_hyper hyper;
    fastadam_adamw_constants_f32 constants;
    fastadam_adamw_defaults(&hyper);
    hyper.lr = 3e-3;
    int64_t step = 0;
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        for (int first = 0; first + BATCH <= count[0]; first += BATCH) {
            memset(&grad, 0, sizeof grad);
            for (int b = 0; b < BATCH; b++) {
                int image = (int)((first + b) * 997L % count[0]);
                backward(pixels + PIXELS * image, labels[image]);
            }
            int code = fastadam_adamw_prepare_f32(&hyper, ++step, &constants);
            code = code ? code : fastadam_adamw_f32((float *)&net, (float *)&grad, exp_avg,
                                                    exp_avg_sq, &constants, N);
            if (code) return fprintf(stderr, "fastadam: code %d\n", code), 1;
        }
    }
    int right = 0;
    for (int image = count[0]; image < all; image++) {
        float hidden[HIDDEN], probability[CLASSES];
        int best = 0;
        forward(pixels + PIXELS * image, hidden, probability);
        for (int k = 1; k < CLASSES; k++)
            if (probability[k] > probability[best]) best = k;
        right += best == labels[image];
    }
    printf("AdamW: %d steps, accuracy %.1f %%\n", (int)step, 100.0 * right / count[1]);
    free(pixels), free(labels), fclose(file);
    return 0;
}
