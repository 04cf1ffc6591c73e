// Package openapi writes an OpenAPI 3.1 document of routes and the Go types of their bodies.
package openapi
