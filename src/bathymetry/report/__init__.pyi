from .content import Report as Report
from .content import StudySection as StudySection
from .page import page as page
from .publishing import StudyCodeError as StudyCodeError
from .publishing import publish as publish
