package dashboard

import (
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// apiReading is how far something is that is read of the nodes in the background.
type apiReading struct {
	Running bool       `json:"running"`
	Began   *time.Time `json:"began,omitempty" doc:"of the one that is running"`
	Ended   *time.Time `json:"ended,omitempty" doc:"of the last one"`
	Error   string     `json:"error,omitempty" doc:"of the last one"`
	Hint    string     `json:"hint,omitempty"`
}

func describeReading[T any](last outcome[T]) apiReading {
	out := apiReading{Running: last.Running, Ended: timeOrNil(last.Ended)}
	if last.Running {
		out.Began = timeOrNil(last.Began)
	}
	out.Error, out.Hint = errorParts(last.Err)
	return out
}

// apiHistory are the rotations in the journals of a cluster's nodes.
type apiHistory struct {
	apiReading
	ReadAt  *time.Time             `json:"readAt,omitempty" doc:"when the journals were read; absent: they were not"`
	History *v1alpha1.RotationList `json:"history,omitempty" doc:"the rotations, as the command history prints them"`
}

// apiRecords are the records of one rotation.
type apiRecords struct {
	apiReading
	ReadAt   *time.Time                `json:"readAt,omitempty" doc:"when the records were read; absent: they were not"`
	Rotation *v1alpha1.RotationHistory `json:"rotation,omitempty" doc:"the rotation and its records, as the command history ID prints them"`
}

func (s *Server) readAPIHistory(call *apiCall) (apiHistory, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return apiHistory{}, err
	}
	return s.describeHistory(named), nil
}

// startAPIHistory reads the journals unless they are being read.
func (s *Server) startAPIHistory(call *apiCall, _ nothing) (apiHistory, error) {
	named, err := s.contextPermitted(call, RightScan)
	if err != nil {
		return apiHistory{}, err
	}
	s.beginJournals(named)
	return s.describeHistory(named), nil
}

func (s *Server) describeHistory(c Context) apiHistory {
	last := s.journals.latestResult(c.Name)
	return apiHistory{apiReading: describeReading(last), ReadAt: timeOrNil(last.At), History: last.Value}
}

func (s *Server) readAPIRecords(call *apiCall) (apiRecords, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return apiRecords{}, err
	}
	return s.describeRecords(named, call.r.PathValue("journal")), nil
}

// startAPIRecords reads the records of a rotation unless they are being read.
func (s *Server) startAPIRecords(call *apiCall, _ nothing) (apiRecords, error) {
	named, err := s.contextPermitted(call, RightScan)
	if err != nil {
		return apiRecords{}, err
	}
	id := call.r.PathValue("journal")
	s.beginRecords(named, id)
	return s.describeRecords(named, id), nil
}

func (s *Server) describeRecords(c Context, id string) apiRecords {
	last := s.records.latestResult(recordsKey(c.Name, id))
	return apiRecords{apiReading: describeReading(last), ReadAt: timeOrNil(last.At), Rotation: last.Value}
}

// contextPermitted is the context that the path of a request names, where the operator has a right.
func (s *Server) contextPermitted(call *apiCall, right Right) (Context, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return Context{}, err
	}
	if why := s.deniedReason(call.r.Context(), named, right); why != "" {
		return Context{}, notPermitted(why)
	}
	return named, nil
}
