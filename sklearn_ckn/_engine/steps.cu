// The steps of a layer around its matrix products: see ArraySteps in array_steps.py.
//
// SCALAR is the type of maps and SUM that of pooled responses, float or double. Maps are
// (n, H, W, C) and responses (n, H1, W1, p) in C order; a "position" is one of the
// n * H1 * W1. Every output is written by one thread, from sums in a fixed order, so
// that results repeat to the bit. Nothing is included: NVRTC compiles it as it is.

// Threads of a block that share a position, and positions of a block.
#define LANES 32
#define GROUPS 4

// Squares of what is multiplied by it are normal floats: of norms from the smallest that
// counts, 1e-30, to 1e7.
#define LIFT ((SCALAR)1099511627776.0)

#define EXP 0
#define POLY 1

struct Response {
    SCALAR value, derivative, beta_derivative;
};

// A cosine, which rounding can put a little outside [-1, 1].
__device__ SCALAR clip(SCALAR cosine)
{
    const SCALAR one = 1;
    return cosine < -one ? -one : (cosine > one ? one : cosine);
}

// The kernels of _kernels.py, in the order of KERNELS, and their derivatives; u is in
// [-1, 1].
__device__ Response respond(SCALAR u, int kernel, SCALAR beta)
{
    const SCALAR pi = (SCALAR)3.14159265358979323846;
    const SCALAR one = 1;
    Response response;
    response.beta_derivative = 0;
    if (kernel == EXP) {
        response.value = exp(beta * (u - one));
        response.derivative = beta * response.value;
        response.beta_derivative = (u - one) * response.value;
    } else if (kernel == POLY) {
        response.value = u * u;
        response.derivative = 2 * u;
    } else {
        const SCALAR angle = pi - acos(u);
        response.value = (sqrt((one - u) * (one + u)) + angle * u) / pi;
        response.derivative = angle / pi;
    }
    return response;
}

// The sum over the lanes of a position, for all of them.
__device__ SCALAR sum_lanes(SCALAR value)
{
    __shared__ SCALAR sums[GROUPS][LANES];
    SCALAR *own = sums[threadIdx.y];
    own[threadIdx.x] = value;
    for (unsigned half = LANES / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            own[threadIdx.x] += own[threadIdx.x + half];
    }
    __syncthreads();
    const SCALAR sum = own[0];
    // before the next sum overwrites it
    __syncthreads();
    return sum;
}

// The first and the last pooled row that a row of responses is part of.
__device__ int first_pooled(int row, int radius, int subsampling)
{
    return row <= radius ? 0 : (row - radius + subsampling - 1) / subsampling;
}

__device__ int last_pooled(int row, int radius, int subsampling, int n_pooled)
{
    const int last = (row + radius) / subsampling;
    return last < n_pooled ? last : n_pooled - 1;
}

// Patches as rows, their norms, reciprocals and products with the mean anchor; LANES x
// GROUPS threads.
extern "C" __global__ void unfold(
    const SCALAR *maps, const SCALAR *mean, SCALAR *patches, SCALAR *norms,
    SCALAR *inverse_norms, SCALAR *offsets, long long n_positions, int height, int width, int n_channels, int n_rows,
    int n_columns, int patch_height, int patch_width, int top, int left, SCALAR smallest_norm)
{
    const long long position = (long long)blockIdx.x * GROUPS + threadIdx.y;
    SCALAR sum = 0, offset = 0;
    if (position < n_positions) {
        const int column = position % n_columns - left;
        const int row = position / n_columns % n_rows - top;
        const long long image = position / n_columns / n_rows;
        // a row of the patch is a run of values in the map, but for its ends
        const int run = patch_width * n_channels;
        const int first = column < 0 ? -column * n_channels : 0;
        const int past = width - column < patch_width ? width - column : patch_width;
        SCALAR *target = patches + position * patch_height * run;
        for (int i = 0; i < patch_height; i++, target += run) {
            const int y = row + i;
            const bool inside = y >= 0 && y < height;
            const long long start = ((image * height + y) * width + column) * n_channels;
            for (int e = threadIdx.x; e < run; e += LANES) {
                SCALAR value = 0;
                if (inside && e >= first && e < past * n_channels)
                    value = maps[start + e];
                target[e] = value;
                sum += (LIFT * value) * (LIFT * value);
                offset += value * mean[i * run + e];
            }
        }
    }
    const SCALAR norm = sqrt(sum_lanes(sum)) / LIFT;
    offset = sum_lanes(offset);
    if (position < n_positions && threadIdx.x == 0) {
        norms[position] = norm;
        inverse_norms[position] = norm > smallest_norm ? 1 / norm : 0;
        offsets[position] = offset;
    }
}

// Responses, pooled. A thread takes one anchor and one pooled column of an image down
// all rows; a row of responses is part of three pooled rows at most.
extern "C" __global__ void respond_and_pool(
    const SCALAR *products, const SCALAR *norms, const SCALAR *inverse_norms,
    const SCALAR *offsets, const SUM *taps, SUM *pooled, long long n_threads, int n_anchors, int n_rows,
    int n_columns, int n_pooled_rows, int n_pooled_columns, int subsampling, int radius,
    int kernel, SCALAR beta)
{
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= n_threads)
        return;
    const int anchor = thread % n_anchors;
    const int pooled_column = thread / n_anchors % n_pooled_columns;
    const long long image = thread / n_anchors / n_pooled_columns;
    const int centre = pooled_column * subsampling;
    const int first = centre < radius ? 0 : centre - radius;
    const int last = centre + radius < n_columns ? centre + radius : n_columns - 1;
    const long long stride = (long long)n_pooled_columns * n_anchors;
    SUM *target = pooled + image * n_pooled_rows * stride
        + (long long)pooled_column * n_anchors + anchor;
    // of the pooled rows at, before and after the last multiple of the stride
    SUM previous = 0, current = 0, next = 0;
    for (int row = 0, phase = 0; row < n_rows; row++, phase++) {
        if (phase == subsampling)
            phase = 0;
        if (phase == 0 && row > 0) {
            previous = current;
            current = next;
            next = 0;
        }
        const long long start = (image * n_rows + row) * n_columns;
        SUM sum = 0;
        for (int column = first; column <= last; column++) {
            const long long position = start + column;
            const SCALAR inverse = inverse_norms[position];
            if (inverse > 0) {
                const SCALAR cosine = clip(inverse
                    * (products[position * n_anchors + anchor] + offsets[position]));
                const SCALAR value = respond(cosine, kernel, beta).value;
                sum += taps[column - centre + radius] * (SUM)(norms[position] * value);
            }
        }
        current += taps[radius + phase] * sum;
        if (radius > 0) {
            // with a stride of 1 there are neither neighbours nor their taps
            next += taps[phase] * sum;
            if (phase == 0 && row > 0) {
                *target = previous + taps[2 * radius] * sum;
                target += stride;
            }
        } else {
            *target = current;
            target += stride;
        }
    }
    if (radius > 0)
        *target = current;
}

// The slopes in products, norms and beta; LANES x GROUPS threads.
extern "C" __global__ void differentiate(
    const SCALAR *pooled_slopes, const SCALAR *products, const SCALAR *norms,
    const SCALAR *inverse_norms, const SCALAR *offsets, const SCALAR *taps,
    SCALAR *product_slopes, SCALAR *coefficients, SCALAR *beta_slopes,
    long long n_positions, int n_anchors, int n_rows, int n_columns, int n_pooled_rows,
    int n_pooled_columns, int subsampling, int radius, int kernel, SCALAR beta)
{
    const long long position = (long long)blockIdx.x * GROUPS + threadIdx.y;
    const bool active = position < n_positions;
    const SCALAR inverse = active ? inverse_norms[position] : 0;
    SCALAR by_norm = 0, by_beta = 0;
    if (active) {
        const int column = position % n_columns;
        const int row = position / n_columns % n_rows;
        const long long image = position / n_columns / n_rows;
        const int top = first_pooled(row, radius, subsampling);
        const int bottom = last_pooled(row, radius, subsampling, n_pooled_rows);
        const int left = first_pooled(column, radius, subsampling);
        const int right = last_pooled(column, radius, subsampling, n_pooled_columns);
        for (int anchor = threadIdx.x; anchor < n_anchors; anchor += LANES) {
            const long long index = position * n_anchors + anchor;
            SCALAR slope = 0;
            if (inverse > 0)
                for (int i = top; i <= bottom; i++) {
                    SCALAR sum = 0;
                    for (int j = left; j <= right; j++)
                        sum += taps[column - j * subsampling + radius]
                            * pooled_slopes[((image * n_pooled_rows + i)
                                             * n_pooled_columns + j) * n_anchors + anchor];
                    slope += taps[row - i * subsampling + radius] * sum;
                }
            const SCALAR cosine = clip((products[index] + offsets[position]) * inverse);
            const Response response = respond(cosine, kernel, beta);
            product_slopes[index] = slope * response.derivative;
            by_norm += slope * (response.value - cosine * response.derivative);
            by_beta += slope * response.beta_derivative;
        }
    }
    by_norm = sum_lanes(by_norm);
    by_beta = sum_lanes(by_beta);
    if (active && threadIdx.x == 0) {
        coefficients[position] = by_norm * inverse;
        beta_slopes[position] = by_beta * norms[position];
    }
}

// The slopes of patches, added where they were taken from; a thread a value.
extern "C" __global__ void fold(
    const SCALAR *patch_slopes, const SCALAR *coefficients, const SCALAR *maps,
    SCALAR *slopes, long long n_values, int height, int width, int n_channels, int n_rows,
    int n_columns, int patch_height, int patch_width, int top, int left)
{
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= n_values)
        return;
    const int channel = thread % n_channels;
    const int x = thread / n_channels % width;
    const int y = thread / n_channels / width % height;
    const long long image = thread / n_channels / width / height;
    SCALAR sum = 0, share = 0;
    for (int i = 0; i < patch_height; i++) {
        const int row = y + top - i;
        if (row < 0 || row >= n_rows)
            continue;
        for (int j = 0; j < patch_width; j++) {
            const int column = x + left - j;
            if (column < 0 || column >= n_columns)
                continue;
            const long long position = (image * n_rows + row) * n_columns + column;
            const long long pixel = (position * patch_height + i) * patch_width + j;
            sum += patch_slopes[pixel * n_channels + channel];
            share += coefficients[position];
        }
    }
    slopes[thread] = sum + share * maps[thread];
}

// Sums of the points of every group, given in the order of their groups; a thread a
// value of a sum.
extern "C" __global__ void sum_groups(
    const SCALAR *points, const long long *order, const long long *starts, double *sums,
    long long n_values, int length)
{
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= n_values)
        return;
    const long long group = thread / length;
    const int column = thread % length;
    double sum = 0;
    for (long long i = starts[group]; i < starts[group + 1]; i++)
        sum += points[order[i] * length + column];
    sums[thread] = sum;
}
