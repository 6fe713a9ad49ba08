/*
 * openapi.h: description of the API, served as /openapi.json.
 */
#ifndef REST_OPENAPI_H
#define REST_OPENAPI_H

extern const char openapi_json[];

#endif
