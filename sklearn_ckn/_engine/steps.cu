// CUDA kernels for the steps of a layer around its matrix products. ArraySteps in
// oracle.py does the same in readable array code.
//
// SCALAR is the type of the maps and SUM the type of the pooled responses: float or
// double. Maps have the shape (n, H, W, C) and responses (n, H1, W1, p), in C order. A
// "position" is one of the n * H1 * W1 positions of all images. Each output value is
// written by a single thread, and sums are added in a fixed order, so results are
// reproducible to the bit. The file includes no other: NVRTC compiles it as it is.

// LANES threads of a block share a position; a block has GROUPS positions.
#define LANES 32
#define GROUPS 4

// Values are multiplied by LIFT before they are squared. The squares are then normal
// floats for all norms from 1e-30, the smallest that counts as non-zero, to 1e7.
#define LIFT ((SCALAR)1099511627776.0)

// A centred patch counts as zero if its norm is at most FLATNESS times the norm of the
// patch: 16 eps, as in _network/unfold.py.
#define FLATNESS ((SCALAR)(16 * (sizeof(SCALAR) == 4 ? 1.1920929e-7 : 2.220446049250313e-16)))

#define EXP 0
#define POLY 1

struct Response {
    SCALAR value, derivative, beta_derivative;
};

// Clip a cosine to [-1, 1]: rounding can put it slightly outside.
__device__ SCALAR clip(SCALAR cosine)
{
    const SCALAR one = 1;
    return cosine < -one ? -one : (cosine > one ? one : cosine);
}

// The kernel functions of _network/kernels.py, numbered as in KERNELS there, and their
// derivatives; u is in [-1, 1].
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

// Add the values of the lanes of a position; every lane gets the sum.
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
    // Wait until all lanes have read the sum: the next call overwrites it.
    __syncthreads();
    return sum;
}

// The first and the last pooled row to which a row of responses contributes.
__device__ int first_pooled(int row, int radius, int subsampling)
{
    return row <= radius ? 0 : (row - radius + subsampling - 1) / subsampling;
}

__device__ int last_pooled(int row, int radius, int subsampling, int n_pooled)
{
    const int last = (row + radius) / subsampling;
    return last < n_pooled ? last : n_pooled - 1;
}

// The part of a lane of the squared norm, times LIFT^2, of a patch without the mean of
// each channel: sum d^2 - (sum d)^2 / n_pixels of the differences d from the first
// pixel, which is exactly 0 for a constant channel.
__device__ SCALAR centred_square(const SCALAR *patch, int n_pixels, int n_channels)
{
    double total = 0;
    for (int channel = threadIdx.x; channel < n_channels; channel += LANES) {
        const double first = patch[channel];
        double sum = 0, squares = 0;
        for (int i = 1; i < n_pixels; i++) {
            const double d = patch[(long long)i * n_channels + channel] - first;
            sum += d;
            squares += d * d;
        }
        total += squares - sum * sum / n_pixels;
    }
    return (SCALAR)(total * LIFT * LIFT);
}

// Copy the patches into the rows of a matrix; compute their norms, the inverse norms and
// the products with the mean of the anchors (the offsets). With `center` the norms are
// those of the centred patches; without `keep_norm` they are 1, the inverse ones are
// not. Blocks of LANES x GROUPS threads.
extern "C" __global__ void unfold(
    const SCALAR *maps, const SCALAR *mean, SCALAR *patches, SCALAR *norms,
    SCALAR *inverse_norms, SCALAR *offsets, long long n_positions, int height,
    int width, int n_channels, int n_rows, int n_columns, int patch_height,
    int patch_width, int dilation, int top, int left, int center, int keep_norm,
    SCALAR smallest_norm)
{
    const long long position = (long long)blockIdx.x * GROUPS + threadIdx.y;
    SCALAR sum = 0, offset = 0;
    if (position < n_positions) {
        const int column = position % n_columns - left;
        const int row = position / n_columns % n_rows - top;
        const long long image = position / n_columns / n_rows;
        // Without a dilation, a row of the patch is contiguous in the map. Its pixels
        // from `first` on and before `past` are inside the map.
        const int run = patch_width * n_channels;
        const int first = column < 0 ? (-column - 1) / dilation + 1 : 0;
        const int within = (width - column - 1) / dilation + 1;
        const int past = within < patch_width ? within : patch_width;
        const long long gap = (dilation - 1LL) * n_channels;
        SCALAR *target = patches + position * patch_height * run;
        for (int i = 0; i < patch_height; i++, target += run) {
            const int y = row + i * dilation;
            const bool inside = y >= 0 && y < height;
            const long long start = ((image * height + y) * width + column) * n_channels;
            for (int e = threadIdx.x; e < run; e += LANES) {
                SCALAR value = 0;
                if (inside && e >= first * n_channels && e < past * n_channels)
                    value = maps[start + e + (gap > 0 ? e / n_channels * gap : 0)];
                target[e] = value;
                sum += (LIFT * value) * (LIFT * value);
                offset += value * mean[i * run + e];
            }
        }
    }
    SCALAR square = sum_lanes(sum);
    if (center) {
        // The lanes have waited for each other: the whole patch is there.
        const int n_pixels = patch_height * patch_width;
        const SCALAR *patch = patches + position * n_pixels * n_channels;
        SCALAR part = 0;
        if (position < n_positions)
            part = centred_square(patch, n_pixels, n_channels);
        part = sum_lanes(part);
        square = part > FLATNESS * FLATNESS * square ? part : 0;
    }
    const SCALAR norm = sqrt(square) / LIFT;
    offset = sum_lanes(offset);
    if (position < n_positions && threadIdx.x == 0) {
        norms[position] = keep_norm ? norm : 1;
        inverse_norms[position] = norm > smallest_norm ? 1 / norm : 0;
        offsets[position] = offset;
    }
}

// Compute the responses and pool them. Each thread computes all pooled rows of one
// anchor, one pooled column and one image; a row of responses contributes to at most
// three pooled rows.
extern "C" __global__ void respond_and_pool(
    const SCALAR *products, const SCALAR *norms, const SCALAR *inverse_norms,
    const SCALAR *offsets, const SUM *taps, SUM *pooled, long long n_threads,
    int n_anchors, int n_rows, int n_columns, int n_pooled_rows, int n_pooled_columns,
    int subsampling, int radius, int kernel, SCALAR beta)
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
    // Sums of three pooled rows: `current` is centred at the last multiple of the stride
    // up to this row, `previous` one stride before it, and `next` one stride after it.
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
            // With a stride of 1 there are no neighbouring pooled rows and one tap.
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

// Compute the gradients with respect to products, norms and beta. Blocks of LANES x
// GROUPS threads.
extern "C" __global__ void differentiate(
    const SCALAR *pooled_gradient, const SCALAR *products, const SCALAR *norms,
    const SCALAR *inverse_norms, const SCALAR *offsets, const SCALAR *taps,
    SCALAR *product_gradients, SCALAR *coefficients, SCALAR *beta_gradients,
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
            SCALAR gradient = 0;
            if (inverse > 0)
                for (int i = top; i <= bottom; i++) {
                    SCALAR sum = 0;
                    for (int j = left; j <= right; j++)
                        sum += taps[column - j * subsampling + radius]
                            * pooled_gradient[((image * n_pooled_rows + i)
                                             * n_pooled_columns + j) * n_anchors + anchor];
                    gradient += taps[row - i * subsampling + radius] * sum;
                }
            const SCALAR cosine = clip((products[index] + offsets[position]) * inverse);
            const Response response = respond(cosine, kernel, beta);
            product_gradients[index] = gradient * response.derivative;
            by_norm += gradient * (response.value - cosine * response.derivative);
            by_beta += gradient * response.beta_derivative;
        }
    }
    by_norm = sum_lanes(by_norm);
    by_beta = sum_lanes(by_beta);
    if (active && threadIdx.x == 0) {
        coefficients[position] = by_norm * inverse;
        beta_gradients[position] = by_beta * norms[position];
    }
}

// Add the gradients with respect to patches at the pixels of the patches. One thread for
// each value of the maps.
extern "C" __global__ void fold(
    const SCALAR *patch_gradients, const SCALAR *coefficients, const SCALAR *maps,
    SCALAR *gradients, long long n_values, int height, int width, int n_channels,
    int n_rows, int n_columns, int patch_height, int patch_width, int dilation,
    int top, int left)
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
        const int row = y + top - i * dilation;
        if (row < 0 || row >= n_rows)
            continue;
        for (int j = 0; j < patch_width; j++) {
            const int column = x + left - j * dilation;
            if (column < 0 || column >= n_columns)
                continue;
            const long long position = (image * n_rows + row) * n_columns + column;
            const long long pixel = (position * patch_height + i) * patch_width + j;
            sum += patch_gradients[pixel * n_channels + channel];
            share += coefficients[position];
        }
    }
    gradients[thread] = sum + share * maps[thread];
}

// Add the points of each group; `order` lists the points group by group, from `starts`
// on. One thread for each value of a sum.
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
