/* gaussian.h: a Gaussian process over configs: what is a config likely to cost, and how sure are we?  (Rasmussen and Williams, "Gaussian
 * Processes for Machine Learning", 2006, chapters 2 and 5.)  Configs are points: each slot by its place in the domain, whole numbers also by
 * how often two divides them (alignment is what hardware rewards), strings by equality.  One weight for each parameter and each of these
 * views is learnt from the data's likelihood.
 *
 * Made for being asked about the same candidates again and again while points come one by one: a candidate keeps its whitened covariances
 * (hone__gaussian_whiten), which a new point only extends by one number. */
#ifndef HONE_GAUSSIAN_H
#define HONE_GAUSSIAN_H

#include "space.h"

#define HONE_GAUSSIAN_NUMBERS_MAX 17u /* of a point, for each slot */
#define HONE_GAUSSIAN_POINTS 216u /* at most; fit anew on fewer when they are reached */

typedef struct hone__gaussian hone__gaussian;

hone__gaussian *hone__gaussian_new(const hone__space *space); /* NULL: out of memory */
void hone__gaussian_free(hone__gaussian *model);
uint32_t hone__gaussian_width(const hone__gaussian *model); /* numbers of one point */
void hone__gaussian_place(const hone__gaussian *model, const hone__config *config, float *point);
/* Begin anew with `count` points, one after the other; `learn`: adapt weights and noise to the costs first.  False: singular. */
bool hone__gaussian_fit(hone__gaussian *model, const float *points, const double *costs, uint32_t count, bool learn);
/* One more point; false when the model is full or would become singular: fit anew. */
bool hone__gaussian_append(hone__gaussian *model, const float *point);
uint32_t hone__gaussian_count(const hone__gaussian *model);
/* The costs of all points, in the order in which they came.  To be given after fit and append, before predict. */
void hone__gaussian_costs(hone__gaussian *model, const double *costs);
/* Fill the candidate's whitened covariances [from, count). */
void hone__gaussian_whiten(const hone__gaussian *model, const float *point, uint32_t from, float *whitened);
void hone__gaussian_predict(const hone__gaussian *model, const float *whitened, double *mean, double *deviation);
/* 1 for the same point, towards 0 for unlike ones. */
double hone__gaussian_likeness(const hone__gaussian *model, const float *a, const float *b);

#endif
