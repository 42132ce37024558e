-- Groups of declarations that enrollments are to have. They end with the generation of their enrollment.
CREATE TABLE mdm_declarations (
	enrollment {int} NOT NULL,
	name       {key} NOT NULL,
	sealed     {blob} NOT NULL, -- the declarations, JSON
	PRIMARY KEY (enrollment, name)
){keyed};
