// Package certs is the domain: services, certificates, keys, and what it means
// to renew one. It does no I/O and knows neither files nor clusters; time is
// always a parameter.
package certs
