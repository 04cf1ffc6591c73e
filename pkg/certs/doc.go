// Package certs is the domain: services, certificates, keys, and the rules of a renewal. It
// does no I/O and has neither files nor clusters; time is always a parameter.
package certs
